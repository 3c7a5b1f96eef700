"""What a checkpoint's image or video processor does to a frame: sizes and normalisation.

The geometry itself is `data/preprocess.py`; rescaling and normalising happen on the
device, by the table made here.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from vidsme_jax.errors import InputError
from vidsme_jax.models.config import read_config

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
_BICUBIC = 3  # Pillow's number


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
    if joint.is_file():
        parts = read_config(joint)
        for name in ("video_processor", "image_processor"):
            if isinstance(parts.get(name), dict):
                return parse_processor(parts[name], f"{joint}: {name}")
    for name in ("video_preprocessor_config.json", "preprocessor_config.json"):
        if (directory / name).is_file():
            return read_processor(directory / name)
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
    off = [n for n in ("do_resize", "do_rescale", "do_normalize") if config.get(n) is False]
    if off or config.get("resample", _BICUBIC) != _BICUBIC or not _rescales(config):
        raise InputError(
            f"{where} switches off {off or 'bicubic resampling or 1/255'}: neither CLIP's"
            " nor SigLIP's steps"
        )
    try:
        resize, crop = _sizes(config)
        mean, std = (
            tuple(float(value) for value in config.get(name, default))
            for name, default in (("image_mean", CLIP_MEAN), ("image_std", CLIP_STD))
        )
        if len(mean) != 3 or len(std) != 3:
            raise ValueError("mean and std of three channels")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where} is not the config of a CLIP or SigLIP processor: {error!r}"
        ) from error
    return Processor(resize, crop, mean, std)  # type: ignore[arg-type]


def _rescales(config: dict[str, Any]) -> bool:
    return abs(config.get("rescale_factor", 1 / 255) - 1 / 255) < 1e-9


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
    return edge, int(crop["height"] if isinstance(crop, dict) else crop)
