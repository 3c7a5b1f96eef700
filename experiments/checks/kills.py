"""Killed at random moments, with two hosts at once, on a full disk: nothing is lost.

    python experiments/checks/kills.py --out checks/kills --clips 200

SIGKILL hits `prepare` 20 times and `score` 20 times, each at a random moment of what an
undisturbed run takes; then the same with two hosts that score a shard each and are killed
10 times each; then on a disk (a file size limit of the kernel) that is too full. At the end
of each the tables are compared, bit by bit, with those of undisturbed runs.
"""

import random
import subprocess
import sys
import time
from pathlib import Path

from bench import Bench, arguments, make_bench, run, same_runs

from vidsme_jax.data.store import open_store

_LIMITED = (
    "import resource, signal, sys\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n"
    "from vidsme_jax.cli import main\n"
    "sys.exit(main(sys.argv[1:]))"
)


def timed(line: list[str]) -> float:
    """Run a line to its end; return the seconds."""
    start = time.monotonic()
    run(line)
    return time.monotonic() - start


def kill(lines: list[list[str]], times: int, seconds: float, dice: random.Random) -> int:
    """Start the lines, kill them at a random moment, again and again; then let them end.

    Returns:
        How many of the kills hit a process that was still at work.
    """
    hits = 0
    for _ in range(times):
        processes = [quiet(line) for line in lines]
        time.sleep(dice.uniform(0, seconds))
        for process in processes:
            hits += process.poll() is None
            process.kill()
            process.wait()
    for line in lines:
        run(line)
    return hits


def quiet(line: list[str]) -> subprocess.Popen:
    """Start a line whose words nobody reads."""
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(line, stdout=nowhere, stderr=nowhere)


def same_stores(one: Path, other: Path) -> int:
    """Check that two stores hold the same clips; return how many."""
    a, b = open_store(one), open_store(other)
    assert a.table.equals(b.table) and a.rows == b.rows and a.places == b.places
    for n in range(len(a.rows)):
        (x,), (y,) = a.clips([n]), b.clips([n])
        assert x.frames.tobytes() == y.frames.tobytes(), n
    return len(a.table)


def on_a_full_disk(line: list[str]) -> str:
    """Run a line with a limit on the size of a file; return the one line it said."""
    words = [sys.executable, "-c", _LIMITED, *line[3:]]
    return run(words, expected=75).strip().splitlines()[-1]


def main() -> None:
    """Run the check and print what came out."""
    given, dice = arguments(__doc__, clips=200), random.Random(0)
    out = given.out
    bench = make_bench(out, given.clips)
    seconds = timed(bench.prepare(out / "store"))
    hits = kill([bench.prepare(out / "store-killed", "--workers", "2")], 20, seconds, dice)
    count = same_stores(out / "store", out / "store-killed")
    print(f"prepare, killed {hits} times of 20 tries: {count} clips, bit-equal")
    print(on_a_full_disk(bench.prepare(out / "store-full")).replace(f"{out}/", "…/"))
    run(bench.prepare(out / "store-full"))
    print(f"with room again: {same_stores(out / 'store', out / 'store-full')} clips")
    score_checks(bench, dice)


def score_checks(bench: Bench, dice: random.Random) -> None:
    """The same for `score`."""
    out, words = bench.folder, ("--frames", "4", "--slices", "video", "--batch", "2")

    def score(name: str, *more: str) -> list[str]:
        return bench.score(out / "store", out / name, *words, *more)

    seconds = timed(score("run"))
    hits = kill([score("run-killed")], 20, seconds, dice)
    names = same_runs(out / "run", out / "run-killed")
    print(f"score, killed {hits} times of 20 tries: {', '.join(names)} bit-equal")
    for k in range(2):
        run(score("parts", "--shards", f"{k}/2"))
    hosts = [score("parts-killed", "--shards", f"{k}/2") for k in range(2)]
    hits = kill(hosts, 10, seconds, dice)
    for name in ("parts", "parts-killed"):
        run([sys.executable, "-m", "vidsme_jax", "merge", str(out / name)])
        run([sys.executable, "-m", "vidsme_jax", "verify", str(out / name)])
    same_runs(out / "parts", out / "parts-killed")
    print(f"two hosts, killed {hits} times of 20: merged, verified, bit-equal")
    print(on_a_full_disk(score("run-full")).replace(f"{out}/", "…/"))
    run(score("run-full"))
    same_runs(out / "run", out / "run-full")
    print("with room again: bit-equal")


if __name__ == "__main__":
    main()
