"""From a prepared store, how much of a run's time is the host's?

    python experiments/checks/second_count.py --out checks/second --clips 128

Prepares clips for 4 and 8 frames. Scores them with 8, then with 4 frames, under a toy model
and under a model of 12 layers of width 768. Prints the last line of `vidsme score`.

Found: a tenth of the time under the toy model, 3 to 4 % under the larger one.
"""

from collections.abc import Iterator

from bench import Bench, arguments, make_bench, publish, run

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
        """Return the path of the checkpoint."""
        return self.folder / "larger"


def main() -> None:
    """Run the check, print what came out and write it down."""
    options = arguments(__doc__, clips=128)
    publish(__file__, check(make_bench(options.out, options.clips)))


def check(bench: Bench) -> Iterator[str]:
    """Prepare, score under both models, and yield how each run spent its time."""
    larger = Larger(bench.folder, bench.rows)
    if not larger.model.exists():
        write_toy(
            larger.model, [r["question"] + r["answer"] for r in bench.rows[:12]], 0, LARGER
        )
    store = bench.folder / "store"
    yield run(bench.prepare(store)).strip().splitlines()[-1]
    for name, models in (("toy", bench), ("larger", larger)):
        for frames in ("8", "4"):
            out = bench.folder / f"{name}-{frames}"
            printed = run(models.score(store, out, "--frames", frames)).splitlines()
            (line,) = (text for text in printed if text.startswith("time: "))
            yield f"{name}, {frames} frames: {line.removeprefix('time: ')}"


if __name__ == "__main__":
    main()
