"""Where the time of a traced run went, by kind of operation and by part of the model.

    vidsme score … --profile TRACE
    python experiments/read_trace.py TRACE

Each operation counts without those inside it. Parts are the named scopes of the program
(vision, decoder, head, statistics), which traces of TPUs carry; on a CPU the kinds alone.
"""

import argparse
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PARTS = ("vision", "decoder", "head", "statistics")
_SHOWN = 15


def main() -> None:
    """Print the table of the newest trace in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path, help="what --profile wrote")
    folder = parser.parse_args().trace
    files = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not files:
        exists = "holds no .xplane.pb" if folder.is_dir() else "is no folder"
        parser.error(f"trace={folder} {exists}, expected what --profile wrote")
    try:
        found = read(files[-1])
    except RuntimeError as error:
        parser.error(f"{files[-1]} is no trace: {error}")
    if not found:
        parser.error(f"{files[-1]} holds no operation of a device")
    print("\n".join([f"{files[-1]}", "", *table(found)]))


def table(found: Counter[tuple[str, str]]) -> list[str]:
    """Return the rows that took longest, and the others together."""
    total, shown = sum(found.values()), found.most_common(_SHOWN)
    rows = [(part or "–", f"`{kind}`", taken) for (part, kind), taken in shown]
    others = len(found) - len(shown)
    rows += [("", f"{others} others", total - sum(row[2] for row in rows))]
    return [
        "| part | kind of operation | seconds | share |",
        "| --- | --- | ---: | ---: |",
        *(f"| {p} | {k} | {taken:.2f} | {taken / total:.1%} |" for p, k, taken in rows),
        f"| all | | {total:.2f} | 100 % |",
    ]


def read(path: Path) -> Counter[tuple[str, str]]:
    """Return the seconds of each part and kind, summed over all lines of the trace."""
    from jax.profiler import ProfileData

    taken: Counter[tuple[str, str]] = Counter()
    for plane in ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for key, seconds in _own_times(list(_operations(line.events))):
                taken[key] += seconds
    return taken


def _operations(events) -> Iterator[tuple[float, float, tuple[str, str]]]:
    """Yield start, end and key of what the device ran, in nanoseconds."""
    for event in events:
        facts: dict[str, Any] = dict(event.stats)
        if "hlo_op" not in facts and "hlo_category" not in facts:
            continue
        path = re.split(r"[/()]", str(facts.get("tf_op", "")))
        part = next((name for name in path if name in _PARTS), "")
        kind = re.sub(r"[.\d]+$", "", str(facts.get("hlo_op", event.name)))
        end = event.start_ns + event.duration_ns
        yield event.start_ns, end, (part, str(facts.get("hlo_category", kind)))


def _own_times(operations) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield the time of each operation, and take it off the one around it."""
    around: list[tuple[float, tuple[str, str]]] = []
    for start, end, key in sorted(operations, key=lambda one: (one[0], -one[1])):
        while around and around[-1][0] <= start:
            around.pop()
        if around:
            yield around[-1][1], -(end - start) / 1e9
        yield key, (end - start) / 1e9
        around.append((end, key))


if __name__ == "__main__":
    main()
