"""Make clips and a model, run commands, and compare tables bit by bit, for all checks."""

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidsme_jax.data.synthetic.shapes import write_clips
from vidsme_jax.models.toy import write_toy

# Python looks for modules in the folder of a check; lab.py lies a folder above.
sys.path.append(str(Path(__file__).resolve().parents[1]))
from lab import publish  # noqa: E402, F401

FRAMES = "4,8"


@dataclass(frozen=True)
class Bench:
    """A folder with clips, a manifest and a toy checkpoint.

    Attributes:
        folder: folder of all files.
        rows: rows of the manifest.
    """

    folder: Path
    rows: list[dict[str, Any]]

    @property
    def model(self) -> Path:
        """Return the path of the checkpoint."""
        return self.folder / "model"

    @property
    def manifest(self) -> Path:
        """Return the path of the manifest."""
        return self.folder / "clips.json"

    def score(self, data: Path, out: Path, *more: str) -> list[str]:
        """Return the words of a `vidsme score`."""
        words = ["--model", str(self.model), "--data", str(data), "--out", str(out)]
        return vidsme("score", *words, *more)

    def prepare(self, out: Path, *more: str) -> list[str]:
        """Return the words of a `vidsme prepare`."""
        words = [str(self.manifest), "--model", str(self.model), "--out", str(out)]
        return vidsme("prepare", *words, "--frames", FRAMES, *more)


def arguments(description: str | None, **counts: int) -> argparse.Namespace:
    """Read the options --out, and --NAME for every count."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("checks"))
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def make_bench(folder: Path, clips: int) -> Bench:
    """Write clips and a checkpoint, unless they exist."""
    path = folder / "clips.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rows = write_clips(folder / "clips", clips, seed=0)
        rows = [row | {"id": f"c{n}", "label": n % 2} for n, row in enumerate(rows)]
        write_toy(folder / "model", [r["question"] + r["answer"] for r in rows[:12]], 0)
        path.write_text(json.dumps(rows))
    return Bench(folder, json.loads(path.read_text()))


def vidsme(*words: str) -> list[str]:
    """Return the line that runs a command in a process of its own."""
    return [sys.executable, "-m", "vidsme_jax", *words]


def run(line: list[str], expected: int = 0) -> str:
    """Run a command line to its end; return what it printed."""
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == expected, (done.returncode, done.stderr[-2000:])
    return done.stdout + done.stderr


def same_runs(run: Path, other: Path) -> list[str]:
    """Check that the tables of two runs are bit-equal; return the tables' names."""
    names = sorted(path.name for path in run.glob("*.parquet"))
    assert names == sorted(path.name for path in other.glob("*.parquet"))
    for name in names:
        same_tables(pq.read_table(run / name), pq.read_table(other / name), name)
    return names


def same_tables(table: pa.Table, other: pa.Table, name: str) -> None:
    """Check that two tables are bit-equal."""
    assert table.schema == other.schema and len(table) == len(other), name
    for column in table.column_names:
        a, b = (t[column].combine_chunks() for t in (table, other))
        if pa.types.is_floating(a.type):
            a, b = (x.to_numpy(zero_copy_only=False).tobytes() for x in (a, b))
        assert a == b if isinstance(a, bytes) else a.equals(b), (name, column)
