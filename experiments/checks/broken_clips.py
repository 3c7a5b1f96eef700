"""Check that broken clips, one in twenty, neither end a command nor disturb the others.

    python experiments/checks/broken_clips.py --out checks/broken --clips 1000

Every twentieth file is cut short, emptied, replaced by text, removed, or a folder. Then
`prepare` and `score` run over all, and over the good ones alone.

Found: every row has a status, and the good rows equal those of the run without broken ones.
"""

import json
from collections import Counter
from collections.abc import Iterator

import pyarrow.compute as pc
import pyarrow.parquet as pq
from bench import Bench, arguments, make_bench, publish, run, same_tables


def break_some(bench: Bench) -> set[str]:
    """Break every twentieth clip, in five ways by turns; return the clips' ids."""
    damages = (
        lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("no video\n" * 100),
        lambda path: path.unlink(missing_ok=True),
        lambda path: (path.unlink(missing_ok=True), path.mkdir(exist_ok=True)),
    )
    broken = bench.rows[7::20]
    for n, row in enumerate(broken):
        path = bench.folder / row["video"]
        if path.is_file():
            damages[n % len(damages)](path)
    return {row["id"] for row in broken}


def main() -> None:
    """Run the check, print what came out and write it down."""
    options = arguments(__doc__, clips=1000)
    publish(__file__, check(make_bench(options.out, options.clips)))


def check(bench: Bench) -> Iterator[str]:
    """Break clips, run both commands with and without them, and yield the results."""
    broken, out = break_some(bench), bench.folder
    good = out / "good.json"
    good.write_text(json.dumps([r for r in bench.rows if r["id"] not in broken]))
    last_line = run(bench.prepare(out / "store")).strip().splitlines()[-1]
    yield last_line.replace(f"{out}/", "")
    # Both runs have the same calibration: broken clips have no part in it.
    for name, data in (("all", out / "store"), ("good", good)):
        words = ("--frames", "8", "--slices", "video")
        run(bench.score(data, out / name, *words))
    table, alone = (
        pq.read_table(out / name / "scores.parquet") for name in ("all", "good")
    )
    status = Counter(table["status"].to_pylist())
    assert len(table) == len(bench.rows) and None not in status
    readable = table.filter(pc.equal(table["status"], "ok"))
    assert not broken & set(readable["id"].to_pylist())
    yield f"{len(table)} rows: {dict(status)}"
    columns = [c for c in alone.column_names if c != "row"]
    worst = largest_difference(readable, alone)
    yield f"{len(readable)} good rows against a run without the broken ones: {worst:.2g}"
    facts = [c for c in columns if c.count(".") != 2]
    same_tables(readable.select(facts), alone.select(facts), "facts")


def largest_difference(left, right) -> float:
    """Return the largest difference of a score between two tables of the same rows."""
    worst = 0.0
    for name in left.column_names:
        if name.count(".") == 2:
            gap = pc.max(pc.abs(pc.subtract(left[name], right[name]))).as_py()
            worst = max(worst, gap or 0.0)
    return worst


if __name__ == "__main__":
    main()
