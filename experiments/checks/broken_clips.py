"""Many clips, one in twenty of them broken: nothing ends early, nothing is disturbed.

    python experiments/checks/broken_clips.py --out checks/broken --clips 1000

Every twentieth file is cut short, emptied, replaced by text, removed, or a folder. Then
`prepare` and `score` run over all, and over the good ones alone.

It printed:

  store: 1000 clips (40 decode_error, 10 missing_file, 950 ok)
  1000 rows: {'ok': 950, 'decode_error': 40, 'missing_file': 10}
  950 good rows against a run without the broken ones: 0
"""

import json
from collections import Counter

import pyarrow.compute as pc
import pyarrow.parquet as pq
from bench import arguments, make_bench, run, same_tables


def break_some(bench) -> set[str]:
    """Break every twentieth clip, each in another way; return their ids."""
    ways = (
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
            ways[n % len(ways)](path)
    return {row["id"] for row in broken}


def main() -> None:
    """Run the check and print what came out."""
    given = arguments(__doc__, clips=1000)
    bench = make_bench(given.out, given.clips)
    broken = break_some(bench)
    good = bench.folder / "good.json"
    good.write_text(json.dumps([r for r in bench.rows if r["id"] not in broken]))
    said = run(bench.prepare(given.out / "store")).strip().splitlines()[-1]
    print(said.replace(f"{given.out}/", ""))
    # One calibration: that of all clips that can be read, which are the good ones.
    for name, data in (("all", given.out / "store"), ("good", good)):
        words = ("--frames", "8", "--slices", "video")
        run(bench.score(data, given.out / name, *words))
    table, alone = (
        pq.read_table(given.out / name / "scores.parquet") for name in ("all", "good")
    )
    status = Counter(table["status"].to_pylist())
    assert len(table) == len(bench.rows) and None not in status
    kept = table.filter(pc.equal(table["status"], "ok"))
    assert not broken & set(kept["id"].to_pylist())
    print(f"{len(table)} rows: {dict(status)}")
    columns = [c for c in alone.column_names if c != "row"]
    worst = largest_difference(kept, alone)
    print(f"{len(kept)} good rows against a run without the broken ones: {worst:.2g}")
    facts = [c for c in columns if c.count(".") != 2]
    same_tables(kept.select(facts), alone.select(facts), "facts")


def largest_difference(one, other) -> float:
    """Return the largest difference of a score between two tables of the same rows."""
    worst = 0.0
    for name in one.column_names:
        if name.count(".") == 2:
            gap = pc.max(pc.abs(pc.subtract(one[name], other[name]))).as_py()
            worst = max(worst, gap or 0.0)
    return worst


if __name__ == "__main__":
    main()
