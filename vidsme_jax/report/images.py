"""Turn pictures of a run into images that a page can hold: strips of frames and maps."""

import base64
import io

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from vidsme_jax.records import runs

_JPEG = b"\xff\xd8\xff"
_LARGEST = 1 << 20  # bytes of a thumbnail


def is_strip(data: bytes) -> bool:
    """Tell whether data begins like a JPEG and has a size that fits a page."""
    return data.startswith(_JPEG) and len(data) <= _LARGEST


def jpeg_uri(data: bytes) -> str:
    """Return a JPEG as a data URI."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def reversed_strip(data: bytes) -> bytes | None:
    """Return a strip with its frames in opposite order; None if it is no strip."""
    try:
        pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    if pixels.shape[1] % runs.STRIP_FRAMES:
        return None
    frames = np.split(pixels, runs.STRIP_FRAMES, axis=1)
    out = io.BytesIO()
    Image.fromarray(np.concatenate(frames[::-1], axis=1)).save(out, "JPEG", quality=80)
    return out.getvalue()


def map_uri(
    cells: Int[np.ndarray, "row column"],
    palette: UInt8[np.ndarray, "colour 3"],
    scale: tuple[int, int],
) -> str:
    """Return a grid of colours as the data URI of a PNG.

    Args:
        cells: index of the colour of each cell.
        palette: red, green and blue of each colour; at most 256 colours.
        scale: pixels of a cell, down and across; whole, so that edges stay sharp.
    """
    pixels = np.repeat(np.repeat(cells.astype(np.uint8), scale[0], 0), scale[1], 1)
    image = Image.fromarray(pixels, "P")
    image.putpalette(palette.ravel().tolist())
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()
