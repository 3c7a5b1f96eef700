"""From a prepared store, how much of a run's time is the host's?

    python experiments/checks/second_count.py --out checks/second --clips 128

Prepares clips for 4 and 8 frames and scores them with 8, then with 4 frames, under a toy
model and under one of 12 layers of width 768. Prints the line with which `vidsme score`
ends.

It printed, with --clips 64:

  toy, 8 frames: 20.4 s; host 2.1 s, 10.5% (clips 0.6 s, batches 0.1 s, writing 1.5 s); …
  toy, 4 frames: 20.1 s; host 2.1 s, 10.2% (clips 0.5 s, batches 0.1 s, writing 1.5 s); …
  larger, 8 frames: 82.4 s; host 2.5 s, 3.0% (clips 0.4 s, batches 0.2 s, writing 1.8 s); …
  larger, 4 frames: 64.2 s; host 2.5 s, 3.8% (clips 0.6 s, batches 0.1 s, writing 1.7 s); …
"""

from bench import Bench, arguments, make_bench, run

from vidsme_jax.models.toy import write_toy

LARGER = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 12,
    "head_dim": 64,
}


class Larger(Bench):
    """The same clips under a larger model."""

    @property
    def model(self):
        """The checkpoint."""
        return self.folder / "larger"


def main() -> None:
    """Run the check and print what came out."""
    given = arguments(__doc__, clips=128)
    bench = make_bench(given.out, given.clips)
    larger = Larger(bench.folder, bench.rows)
    if not larger.model.exists():
        write_toy(
            larger.model, [r["question"] + r["answer"] for r in bench.rows[:12]], 0, LARGER
        )
    print(run(bench.prepare(given.out / "store")).strip().splitlines()[-1])
    for name, one in (("toy", bench), ("larger", larger)):
        for frames in ("8", "4"):
            out = given.out / f"{name}-{frames}"
            said = run(one.score(given.out / "store", out, "--frames", frames))
            (line,) = (text for text in said.splitlines() if text.startswith("time: "))
            print(f"{name}, {frames} frames: {line.removeprefix('time: ')}")


if __name__ == "__main__":
    main()
