"""Which part of the work is whose: shard k of n, by a stable hash of a row's id.

    RUN/shards/0003-of-0016/    the run of one shard, like any run, of its rows only

No two shards write to the same directory, none waits for another, and the rows of a shard
do not depend on the order of the manifest. `vidsme merge` joins them.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vidsme_jax.errors import InputError

_EXPECTED = (
    "expected K/N with K from 0 to N-1, auto (both from the environment of SLURM, SkyPilot"
    " or a TPU worker), or auto/N (K from there, or from an indexed job)"
)


@dataclass(frozen=True)
class Shard:
    """One of several parts.

    Attributes:
        index: from 0 on.
        count: of parts.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, name: str) -> bool:
        """Tell whether the row with this id belongs to this part."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def directory(self, whole: Path) -> Path:
        """Return where this part's results go."""
        return whole / "shards" / f"{self.index:04d}-of-{self.count:04d}"


def shard_directories(whole: Path) -> dict[Shard, Path]:
    """Return the parts that have a directory, in order."""
    out = {}
    for path in sorted((whole / "shards").glob("*-of-*")):
        index, _, count = path.name.partition("-of-")
        if index.isdecimal() and count.isdecimal():
            out[Shard(int(index), int(count))] = path
    return out


def read_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Read `--shards`.

    Raises:
        InputError: it is no shard, or the environment does not say which.
    """
    index, _, count = text.partition("/")
    if index == "auto":
        return _from_environment(text, count, environment)
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise InputError(f"shards={text}, {_EXPECTED}")
    return Shard(int(index), int(count))


def _from_environment(text: str, count: str, environment: Mapping[str, str]) -> Shard:
    index, found = _slurm(environment)
    pairs = (("SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES"), ("JOB_COMPLETION_INDEX", ""))
    for rank, size in pairs:
        if index is None and rank in environment:
            index, found = _number(environment, rank), _number(environment, size)
    if index is None and "TPU_WORKER_ID" in environment:
        index = _number(environment, "TPU_WORKER_ID")
        hosts = environment.get("TPU_WORKER_HOSTNAMES")
        found = len(hosts.split(",")) if hosts else None
    total = int(count) if count.isdecimal() else found
    if index is None or total is None or (count and not count.isdecimal()):
        held = (
            "nothing of a launcher" if index is None else f"number {index}, not of how many"
        )
        raise InputError(f"shards={text}: the environment has {held}; {_EXPECTED}")
    if index >= total:
        raise InputError(f"shards={text}: number {index} of {total}; {_EXPECTED}")
    return Shard(index, total)


def _slurm(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return rank and size among the tasks of all elements of an array."""
    if "SLURM_JOB_ID" not in environment:
        return None, None
    task = _number(environment, "SLURM_PROCID") or 0
    tasks = _number(environment, "SLURM_NTASKS") or 1
    element = _number(environment, "SLURM_ARRAY_TASK_ID")
    if element is None:
        return task, tasks
    first = _number(environment, "SLURM_ARRAY_TASK_MIN") or 0
    step = _number(environment, "SLURM_ARRAY_TASK_STEP") or 1
    elements = _number(environment, "SLURM_ARRAY_TASK_COUNT") or 1
    return (element - first) // step * tasks + task, elements * tasks


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name, "")
    return int(value) if value.isdecimal() else None
