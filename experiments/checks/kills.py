"""Check that nothing is lost when commands are killed, on two hosts or on a full disk.

    python experiments/checks/kills.py --out checks/kills --clips 60

SIGKILL hits `prepare` 20 times and `score` 20 times at work, each at a random moment of
an undisturbed run's time; then two hosts at once that score a shard each; then both run
on a disk (a file size limit of the kernel) that is too full. A run goes on after each kill.
Whenever a run is whole, its tables are compared, bit by bit, with those of an undisturbed
run, and it starts anew.

Found: every table was bit-equal to that of an undisturbed run. On a full disk the command
ends with one line (… could not be written: File too large; what was finished before is
kept, make room and run the same command again), and with room it makes the same tables.
"""

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import Bench, arguments, make_bench, publish, run, same_runs

from vidsme_jax.data.store.store import open_store

KILLS = 20
_LIMITED = (
    "import resource, signal, sys\n"
    "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n"
    "from vidsme_jax.cli import main\n"
    "sys.exit(main(sys.argv[1:]))"
)


def timed(line: list[str]) -> float:
    """Run a command line to its end; return its seconds."""
    start = time.monotonic()
    run(line)
    return time.monotonic() - start


def kill(
    lines: list[list[str]], seconds: float, dice: random.Random, out: Path, check
) -> str:
    """Start the lines and kill them at a random moment, until 20 kills have hit.

    Args:
        lines: command lines that run at once and write to `out`.
        seconds: time that they take undisturbed.
        dice: random numbers for the moments.
        out: output folder, removed when a run is whole, so that the next kill finds work.
        check: compares the output with that of an undisturbed run.

    Returns:
        The number of kills and of whole runs, in words.
    """
    hits = whole = 0
    while hits < KILLS:
        processes = [quiet(line) for line in lines]
        time.sleep(dice.uniform(0, seconds))
        hit = sum(process.poll() is None for process in processes)
        for process in processes:
            process.kill()
            process.wait()
        hits += hit
        if not hit:
            check()
            whole += 1
            shutil.rmtree(out)
    for line in lines:
        run(line)
    check()
    return f"killed {hits} times, {whole + 1} times whole"


def quiet(line: list[str]) -> subprocess.Popen:
    """Start a command line without its output."""
    nowhere = subprocess.DEVNULL
    return subprocess.Popen(line, stdout=nowhere, stderr=nowhere)


def same_stores(store: Path, other: Path) -> int:
    """Check that two stores hold the same clips; return their number."""
    a, b = open_store(store), open_store(other)
    assert a.table.equals(b.table) and a.rows == b.rows and a.clip_numbers == b.clip_numbers
    for n in range(len(a.rows)):
        (x,), (y,) = a.clips([n]), b.clips([n])
        assert x.frames.tobytes() == y.frames.tobytes(), n
    return len(a.table)


def on_a_full_disk(line: list[str]) -> str:
    """Run a command line with a limit on the size of a file; return its last line."""
    words = [sys.executable, "-c", _LIMITED, *line[3:]]
    return run(words, expected=75).strip().splitlines()[-1]


def main() -> None:
    """Run the checks, print what came out and write it down."""
    options = arguments(__doc__, clips=60)
    publish(__file__, check(make_bench(options.out, options.clips), random.Random(0)))


def check(bench: Bench, dice: random.Random) -> Iterator[str]:
    """Kill `prepare`, then `score`, and yield the results."""
    out = bench.folder
    seconds = timed(bench.prepare(out / "store"))
    killed = out / "store-killed"
    lines = [bench.prepare(killed, "--workers", "2")]
    done = kill(lines, seconds, dice, killed, lambda: same_stores(out / "store", killed))
    yield f"prepare: {done}, {len(bench.rows)} clips bit-equal"
    yield on_a_full_disk(bench.prepare(out / "store-full")).replace(f"{out}/", "…/")
    run(bench.prepare(out / "store-full"))
    yield f"with room again: {same_stores(out / 'store', out / 'store-full')} clips"
    yield from score_checks(bench, dice)


def score_checks(bench: Bench, dice: random.Random) -> Iterator[str]:
    """Kill `score`, alone and on two hosts, and yield the results."""
    out, words = bench.folder, ("--frames", "4", "--slices", "video", "--batch", "2")

    def score(name: str, *more: str) -> list[str]:
        return bench.score(out / "store", out / name, *words, *more)

    def same(name: str, other: str) -> list[str]:
        return same_runs(out / name, out / other)

    def joined(name: str) -> None:
        for command in ("merge", "verify"):
            run([sys.executable, "-m", "vidsme_jax", command, str(out / name)])

    def compare_shards() -> None:
        joined("shards-killed")
        same("shards", "shards-killed")

    seconds, killed = timed(score("run")), out / "run-killed"
    line = score("run-killed")
    done = kill([line], seconds, dice, killed, lambda: same("run", "run-killed"))
    yield f"score: {done}, {', '.join(same('run', 'run-killed'))} bit-equal"
    for k in range(2):
        run(score("shards", "--shards", f"{k}/2"))
    joined("shards")
    hosts = [score("shards-killed", "--shards", f"{k}/2") for k in range(2)]
    done = kill(hosts, seconds, dice, out / "shards-killed", compare_shards)
    yield f"two hosts: {done}, merged, verified, bit-equal"
    yield on_a_full_disk(score("run-full")).replace(f"{out}/", "…/")
    run(score("run-full"))
    same("run", "run-full")
    yield "with room again: bit-equal"


if __name__ == "__main__":
    main()
