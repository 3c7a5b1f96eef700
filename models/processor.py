"""Read a checkpoint's image or video processor: sizes and normalisation of frames.

Frames are resized and cut in `data/preprocess.py`. The device rescales and normalises
them by the table made here.
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
_RESAMPLING = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_MOST = 10000  # pixels along a side


@dataclass(frozen=True)
class Processor:
    """The sizes and the normalisation by which a frame becomes the tower's input.

    Attributes:
        resize: shortest edge after resizing, pixels. None squeezes the whole frame
            into the square, as SigLIP's processor does.
        crop: side of the square that the tower takes, cut from the centre, pixels.
        mean: mean of pixel values in 0 to 1, per channel.
        std: standard deviation of pixel values in 0 to 1, per channel.
        resample: interpolation of resizing, "bicubic", or SigLIP 2's "bilinear".
    """

    resize: int | None
    crop: int
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    resample: str = "bicubic"


def pixel_levels(
    mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[np.ndarray, "3 256"]:
    """Return the normalised float32 value of every uint8 level in every channel.

    The values are bit-equal to those of the Pillow processors of transformers. These
    rescale by 1/255 in float64, round, and then normalise in float32. With such a table on
    the device, clips are transferred as uint8, a quarter of the bytes.

    Args:
        mean: mean of pixel values in 0 to 1, per channel.
        std: standard deviation of pixel values in 0 to 1, per channel.
    """
    scaled = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    centre, spread = (np.array(x, np.float32)[:, None] for x in (mean, std))
    return (scaled[None] - centre) / spread


def find_processor(directory: Path) -> Processor:
    """Read the video processor, or else the image processor, of a checkpoint directory.

    Raises:
        InputError: there is none, or it asks for other steps than CLIP's or SigLIP's.
    """
    joint = directory / "processor_config.json"
    processors = read_config(joint) if joint.is_file() else {}
    for kind, file in (
        ("video_processor", "video_preprocessor_config.json"),
        ("image_processor", "preprocessor_config.json"),
    ):
        if isinstance(processors.get(kind), dict):
            return parse_processor(processors[kind], f"{joint}: {kind}")
        if (directory / file).is_file():
            return read_processor(directory / file)
    raise InputError(
        f"model={directory} has no preprocessor_config.json, expected the size, mean and"
        " standard deviation of its frames"
    )


def read_processor(path: Path) -> Processor:
    """Read a processor from its preprocessor_config.json; see `parse_processor`."""
    return parse_processor(read_config(path), str(path))


def parse_processor(config: dict[str, Any], where: str) -> Processor:
    """Return the processor that the fields of a CLIP or SigLIP config describe.

    Args:
        config: the fields.
        where: name of the config in errors.

    Raises:
        InputError: the fields ask for other steps than CLIP's or SigLIP's.
    """
    steps = ("do_resize", "do_rescale", "do_normalize")
    off = [step for step in steps if config.get(step) is not None and not config[step]]
    if off:
        raise InputError(f"{where} switches off {off}: neither CLIP's nor SigLIP's steps")
    number = config.get("resample", 3)
    if number not in list(_RESAMPLING):
        raise InputError(
            f"{where}: resample={number!r}, expected 2 (bilinear) or 3 (bicubic)"
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
    resample = _RESAMPLING[int(number)]
    return Processor(resize, crop, mean, std, resample)  # type: ignore[arg-type]


def _sizes(config: dict[str, Any]) -> tuple[int | None, int]:
    """Return shortest edge and side of the square; the edge is None for squeezed frames."""
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
