"""What a checkpoint's image or video processor does to a frame: sizes and normalisation.

The geometry itself is `data/preprocess.py`; rescaling and normalising happen on the
device, by the table made here.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import read_config

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
_BICUBIC = 3  # Pillow's number
_MOST = 10000  # pixels along a side


@dataclass(frozen=True)
class Processor:
    """Where a frame's pixels go.

    Attributes:
        resize: shortest edge after bicubic resizing, or None: the whole frame is squeezed
            into the square, as SigLIP's processor does.
        crop: side of the square that the tower takes, cut from the centre.
        mean: per channel, of values in 0 to 1.
        std: likewise.
    """

    resize: int | None
    crop: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD


def pixel_levels(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[np.ndarray, "3 256"]:
    """Return the value of each uint8 level in each channel after the image processor.

    float32, bit-equal to the Pillow processors of transformers, which rescale by 1/255 in
    float64, round, and then normalise in float32. A table of 768 numbers on the device
    lets clips travel as uint8, a quarter of the bytes.
    """
    scaled = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    return (scaled[None] - np.array(mean, np.float32)[:, None]) / np.array(std, np.float32)[
        :, None
    ]


def find_processor(directory: Path) -> Processor:
    """Read the processor of videos from wherever a Hugging Face checkpoint keeps it.

    Raises:
        InputError: there is none, or it asks for other steps.
    """
    joint = directory / "processor_config.json"
    parts = read_config(joint) if joint.is_file() else {}
    for kind, file in (
        ("video_processor", "video_preprocessor_config.json"),
        ("image_processor", "preprocessor_config.json"),
    ):
        if isinstance(parts.get(kind), dict):
            return parse_processor(parts[kind], f"{joint}: {kind}")
        if (directory / file).is_file():
            return read_processor(directory / file)
    raise InputError(
        f"model={directory} has no preprocessor_config.json, expected the size, mean and"
        " standard deviation of its frames"
    )


def read_processor(path: Path) -> Processor:
    """Read one preprocessor_config.json; see `parse_processor`."""
    return parse_processor(read_config(path), str(path))


def parse_processor(config: dict[str, Any], where: str) -> Processor:
    """Understand the fields of a CLIP or SigLIP processor.

    Raises:
        InputError: it asks for steps that are neither's.
    """
    steps = ("do_resize", "do_rescale", "do_normalize")
    off = [n for n in steps if config.get(n) is not None and not config[n]]
    if off or config.get("resample", _BICUBIC) != _BICUBIC:
        raise InputError(
            f"{where} switches off {off or 'bicubic resampling'}: neither CLIP's nor"
            " SigLIP's steps"
        )
    try:
        if not abs(float(config.get("rescale_factor", 1 / 255)) * 255 - 1) < 1e-6:
            raise ValueError(f"rescale_factor={config['rescale_factor']}, expected 1/255")
        resize, crop = _sizes(config)
        mean, std = (
            tuple(float(value) for value in list(config.get(name, default)))
            for name, default in (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD))
        )
        finite = all(math.isfinite(value) for value in (*mean, *std))
        if len(mean) != 3 or len(std) != 3 or not finite or min(std) <= 0:
            raise ValueError("expected mean and std of three channels, std above 0")
        for size in (crop, crop if resize is None else resize):
            if not 0 < size <= _MOST:
                raise ValueError(f"size {size}, expected a number from 1 to {_MOST}")
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where} is not the config of a CLIP or SigLIP processor: {error!r}"
        ) from error
    return Processor(resize, crop, mean, std)  # type: ignore[arg-type]


def _sizes(config: dict[str, Any]) -> tuple[int | None, int]:
    """Return the shortest edge (None: the square itself) and the side of the square."""
    size = config.get("size", {"shortest_edge": 224})
    if isinstance(size, dict) and "height" in size:
        if size["height"] != size["width"]:
            raise ValueError(f"size {size}, expected a square")
        return None, int(size["height"])
    edge = int(size["shortest_edge"] if isinstance(size, dict) else size)
    if config.get("do_center_crop") is False:
        raise ValueError("no centre crop, expected a square")
    crop = config.get("crop_size", 224)
    sides = {crop["height"], crop["width"]} if isinstance(crop, dict) else {crop}
    if len(sides) > 1:
        raise ValueError(f"crop_size {crop}, expected a square")
    return edge, int(sides.pop())
