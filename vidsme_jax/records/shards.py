"""Split the rows of a run into shards, by a stable hash of their ids.

    RUN/shards/0003-of-0016/    the run of a shard: like any run, but of its rows only

No two shards write to the same directory, and none waits for another. The rows of a shard
do not depend on the order of the manifest. `vidsme merge` joins the shards.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.records import files

_EXPECTED = (
    "expected K/N with K from 0 to N-1, auto (both from the environment of SLURM, SkyPilot"
    " or a TPU worker), or auto/N (K from there, or from an indexed job)"
)


@dataclass(frozen=True)
class Shard:
    """A share of the rows of a run.

    Attributes:
        index: number of the shard, from 0 on.
        count: number of shards.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def has(self, name: str) -> bool:
        """Tell whether the row with an id is in this shard."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index

    def directory(self, whole: Path) -> Path:
        """Return the directory of this shard in that of the whole run."""
        return whole / "shards" / f"{self.index:04d}-of-{self.count:04d}"


def shard_directories(whole: Path) -> dict[Shard, Path]:
    """Return the directory of each shard that has one, in order."""
    out = {}
    for path in sorted((whole / "shards").glob("*-of-*")):
        index, _, count = path.name.partition("-of-")
        if index.isdecimal() and count.isdecimal():
            out[Shard(int(index), int(count))] = path
    return out


def check_siblings(
    whole: Path, shard: Shard | None, settings: Mapping[str, Any], name: str
) -> None:
    """Refuse a shard that could not be merged with those that have begun.

    A whole run is refused, too, where shards wait to be merged.

    Args:
        whole: directory of the whole run or store.
        shard: the shard that is about to begin; None for the whole.
        settings: everything that decides its numbers.
        name: of the file that holds the settings of a run or store.

    Raises:
        InputError: shards of another number, or with other settings; a whole beside shards.
    """
    begun, is_whole = shard_directories(whole), (whole / name).exists()
    if shard is None:
        if begun and not is_whole:
            raise InputError(
                f"out={whole} has {len(begun)} shards: vidsme merge joins them; or give"
                " another --out"
            )
        return
    if is_whole and not begun:
        raise InputError(
            f"out={whole} holds a whole run or store, expected --shards {shard} in a new"
            " directory, or beside other shards"
        )
    for other, path in begun.items():
        if not (path / name).exists() or other == shard:
            continue
        if other.count != shard.count:
            raise InputError(
                f"out={whole} has {path.name}, which is not merged with shard {shard};"
                " give another --out, or remove it"
            )
        there = files.read_info(path / name)["settings"] | {"shard": None}
        here = json.loads(json.dumps(settings)) | {"shard": None}
        if there != here:
            raise InputError(
                f"out={whole} has shard {other}, which was made with other settings:"
                f" {files.settings_differences(there, here)}; all shards need the same"
            )


def read_shard(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """Return the shard that the option `--shards` names.

    Args:
        text: `K/N`, `auto` or `auto/N`.
        environment: variables of a launcher, for `auto`.

    Raises:
        InputError: the text names no shard, or the environment does not say which.
    """
    index, _, count = text.partition("/")
    if index == "auto":
        return _from_environment(text, count, environment)
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise InputError(f"shards={text}, {_EXPECTED}")
    return Shard(int(index), int(count))


def _from_environment(text: str, count: str, environment: Mapping[str, str]) -> Shard:
    """Return the shard of this process, by the variables of its launcher."""
    index, size = _slurm(environment)
    pairs = (("SKYPILOT_NODE_RANK", "SKYPILOT_NUM_NODES"), ("JOB_COMPLETION_INDEX", ""))
    for rank_name, size_name in pairs:
        if index is None and rank_name in environment:
            index, size = (_number(environment, name) for name in (rank_name, size_name))
    if index is None and "TPU_WORKER_ID" in environment:
        index = _number(environment, "TPU_WORKER_ID")
        hosts = environment.get("TPU_WORKER_HOSTNAMES")
        size = len(hosts.split(",")) if hosts else None
    total = int(count) if count.isdecimal() else size
    if index is None or total is None or (count and not count.isdecimal()):
        variables = (
            "nothing of a launcher" if index is None else f"number {index}, not of how many"
        )
        raise InputError(f"shards={text}: the environment has {variables}; {_EXPECTED}")
    if index >= total:
        raise InputError(f"shards={text}: number {index} of {total}; {_EXPECTED}")
    return Shard(index, total)


def _slurm(environment: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Return rank and number of this task among all tasks of a SLURM job array."""
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
    """Return a variable as a number; None where it is missing or no number."""
    value = environment.get(name, "")
    return int(value) if value.isdecimal() else None
