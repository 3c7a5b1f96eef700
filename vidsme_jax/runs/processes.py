"""Let several processes score together, for a model that is larger than a host.

All of them read the same input and take every step at the same time, since each holds a
share of the model. The first leads: it alone writes into the run's directory.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils

from vidsme_jax.errors import InputError


@dataclass(frozen=True)
class Team:
    """The processes that score together.

    Attributes:
        count: number of processes.
        index: number of this process, from 0 on.
    """

    count: int = 1
    index: int = 0

    @property
    def leads(self) -> bool:
        """Return whether this process writes into the run's directory."""
        return self.index == 0

    def broadcast(self, value: np.ndarray) -> np.ndarray:
        """Return the first process's array; the others pass one of the same shape."""
        if self.count == 1:
            return value
        sent = multihost_utils.broadcast_one_to_all(value.astype(np.int32))
        return np.asarray(sent).astype(value.dtype)

    def broadcast_go(self, go: bool) -> bool:
        """Return whether the first process says that there is anything to do."""
        return bool(self.broadcast(np.array(go)))

    @contextmanager
    def release_on_failure(self) -> Iterator[None]:
        """Tell the waiting processes to stop if the first one fails in the block."""
        try:
            yield
        except BaseException:
            self.broadcast_go(False)
            raise


ALONE = Team()


def join() -> Team:
    """Connect to the other processes; call it before anything else asks for a device.

    JAX finds them by itself on TPU pods and under SLURM, Open MPI and Kubernetes jobs.
    Elsewhere three variables name them: JAX_COORDINATOR_ADDRESS (host:port of the first
    process), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
        InputError: nothing says who they are, or JAX has opened its devices already.
    """
    if not jax.distributed.is_initialized():
        count, index = (_number(f"JAX_{name}") for name in ("NUM_PROCESSES", "PROCESS_ID"))
        try:
            jax.distributed.initialize(num_processes=count, process_id=index)
        except (ValueError, RuntimeError) as error:  # a variable is missing, or too late
            reason = " ".join(str(error).split()).rstrip(".")
            raise InputError(
                "parallel=global needs to know its processes, expected a cluster that JAX"
                " recognises, or JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and"
                f" JAX_PROCESS_ID ({reason:.200})"
            ) from error
    return Team(jax.process_count(), jax.process_index())


def _number(name: str) -> int | None:
    """Return the whole number that a variable of the environment holds, if it is set."""
    text = os.environ.get(name)
    if text is not None and not text.isdecimal():
        raise InputError(f"{name}={text}, expected a number")
    return None if text is None else int(text)
