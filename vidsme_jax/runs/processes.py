"""Several processes as one, for a model that is larger than a host.

All of them read the same input and take every step at the same time, since each holds a
part of the model. The first leads: it alone looks after the run's directory.
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
    """The processes that score as one.

    Attributes:
        count: how many.
        own: number of this one.
    """

    count: int = 1
    own: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process looks after the run's directory."""
        return self.own == 0

    def agreed(self, value: np.ndarray) -> np.ndarray:
        """Return the first process's array; the others give one of the same shape."""
        if self.count == 1:
            return value
        sent = multihost_utils.broadcast_one_to_all(value.astype(np.int32))
        return np.asarray(sent).astype(value.dtype)

    def told(self, go: bool) -> bool:
        """Return what the first process says: whether there is anything to do."""
        return bool(self.agreed(np.array(go)))

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Let the others know if the first process fails before it told them to go."""
        try:
            yield
        except BaseException:
            self.told(False)
            raise


ALONE = Team()


def join() -> Team:
    """Meet the other processes; to be called before anything else asks for a device.

    JAX finds them by itself on TPU pods and under SLURM, Open MPI and Kubernetes jobs.
    Elsewhere three variables say it: JAX_COORDINATOR_ADDRESS (host:port of the first
    process), JAX_NUM_PROCESSES and JAX_PROCESS_ID.

    Raises:
        InputError: nothing says who they are, or JAX has found its devices already.
    """
    if not jax.distributed.is_initialized():
        count, own = (_number(f"JAX_{name}") for name in ("NUM_PROCESSES", "PROCESS_ID"))
        try:
            jax.distributed.initialize(num_processes=count, process_id=own)
        except (ValueError, RuntimeError) as error:  # of what is missing, or came too late
            reason = " ".join(str(error).split()).rstrip(".")
            raise InputError(
                "parallel=global needs to know its processes, expected a cluster that JAX"
                " recognises, or JAX_COORDINATOR_ADDRESS=HOST:PORT, JAX_NUM_PROCESSES and"
                f" JAX_PROCESS_ID ({reason:.200})"
            ) from error
    return Team(jax.process_count(), jax.process_index())


def _number(name: str) -> int | None:
    text = os.environ.get(name)
    if text is not None and not text.isdecimal():
        raise InputError(f"{name}={text}, expected a number")
    return None if text is None else int(text)
