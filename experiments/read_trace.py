"""Print where the time of a traced run went, by kind of operation and part of the model.

    vidsme score … --profile TRACE
    python experiments/read_trace.py TRACE

Each operation counts without those inside it. Parts are the named scopes of the program
(vision, decoder, head, statistics). Traces of TPUs have them, those of CPUs kinds alone.
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
        fault = "holds no .xplane.pb" if folder.is_dir() else "is no folder"
        parser.error(f"trace={folder} {fault}, expected what --profile wrote")
    try:
        seconds = read(files[-1])
    except RuntimeError as error:
        parser.error(f"{files[-1]} is no trace: {error}")
    if not seconds:
        parser.error(f"{files[-1]} holds no operation of a device")
    print("\n".join([f"{files[-1]}", "", *table(seconds)]))


def table(seconds: Counter[tuple[str, str]]) -> list[str]:
    """Return the lines of the table: the longest parts and kinds, and the others' sum."""
    total, longest = sum(seconds.values()), seconds.most_common(_SHOWN)
    rows = [(part or "–", f"`{kind}`", taken) for (part, kind), taken in longest]
    others = len(seconds) - len(longest)
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

    total: Counter[tuple[str, str]] = Counter()
    for plane in ProfileData.from_file(str(path)).planes:
        for line in plane.lines:
            for key, seconds in _net_times(list(_operations(line.events))):
                total[key] += seconds
    return total


def _operations(events) -> Iterator[tuple[float, float, tuple[str, str]]]:
    """Yield start and end of each operation of the device, in nanoseconds, and its key."""
    for event in events:
        facts: dict[str, Any] = dict(event.stats)
        if "hlo_op" not in facts and "hlo_category" not in facts:
            continue
        path = re.split(r"[/()]", str(facts.get("tf_op", "")))
        part = next((name for name in path if name in _PARTS), "")
        kind = re.sub(r"[.\d]+$", "", str(facts.get("hlo_op", event.name)))
        end = event.start_ns + event.duration_ns
        yield event.start_ns, end, (part, str(facts.get("hlo_category", kind)))


def _net_times(operations) -> Iterator[tuple[tuple[str, str], float]]:
    """Yield the seconds of each operation, and their negative for the one around it."""
    around: list[tuple[float, tuple[str, str]]] = []
    for start, end, key in sorted(operations, key=lambda o: (o[0], -o[1])):
        while around and around[-1][0] <= start:
            around.pop()
        if around:
            yield around[-1][1], -(end - start) / 1e9
        yield key, (end - start) / 1e9
        around.append((end, key))


if __name__ == "__main__":
    main()
