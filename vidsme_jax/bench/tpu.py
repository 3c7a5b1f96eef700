"""List TPU chips with their memory and speed, and open their topologies without them.

The compiler comes with libtpu (the extra `[tpu]`) and needs no TPU.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from vidsme_jax.errors import InputError

_GIB = 2**30


@dataclass(frozen=True)
class Chip:
    """A kind of TPU chip.

    Attributes:
        memory: bytes of HBM.
        flops: peak of dense bfloat16 operations a second.
        axes: number of axes along which chips are connected.
        options: compiler options that make its cores a single device, as JAX does.
    """

    memory: int
    flops: float
    axes: int
    options: tuple[tuple[str, str], ...] = ()


# https://cloud.google.com/tpu/docs/system-architecture-tpu-vm, a page per generation.
CHIPS = {
    "v4": Chip(32 * _GIB, 275e12, 3, (("chip_config_name", "megacore"),)),
    "v5e": Chip(16 * _GIB, 197e12, 2),
    "v5p": Chip(95 * _GIB, 459e12, 3),
    "v6e": Chip(32 * _GIB, 918e12, 2),
}
_LONGEST = 16
_EXAMPLES = "v4:2x2x1, v5e:2x4, v5p:2x2x1 (a v5p-8), v6e:2x4"


def chip_of(topology: str) -> Chip:
    """Return the chip of a topology such as v5e:2x4.

    Raises:
        InputError: no such chip, or another number of axes or chips than it is built with.
    """
    name, _, grid = topology.partition(":")
    sides = [int(side) if side.isdecimal() else 0 for side in grid.split("x")]
    if name not in CHIPS:
        raise InputError(f"topology={topology}, expected one like {_EXAMPLES}")
    axes = CHIPS[name].axes
    # For a larger topology the compiler ends the whole process.
    if len(sides) != axes or not all(1 <= side <= _LONGEST for side in sides):
        raise InputError(
            f"topology={topology}, expected {name}: and {axes} numbers of chips from 1 to"
            f" {_LONGEST} with x between them, as in {_EXAMPLES}"
        )
    return CHIPS[name]


def devices_of(topology: str) -> tuple[Any, ...]:
    """Return the devices of a topology, to compile for.

    Raises:
        InputError: no such topology, or no compiler.
    """
    from jax.experimental import topologies

    options = dict(chip_of(topology).options)
    if find_spec("libtpu") is None:
        raise InputError(
            f"topology={topology} needs the TPU compiler, expected the extra"
            " (pip install '.[tpu]')"
        )
    try:
        description = topologies.get_topology_desc(topology, "tpu", **options)
    except Exception as error:  # libtpu's errors have no common type
        reason = " ".join(str(error).split())[:150]
        raise InputError(
            f"topology={topology} is none that the compiler knows, expected one like"
            f" {_EXAMPLES} ({reason})"
        ) from error
    return tuple(description.devices)
