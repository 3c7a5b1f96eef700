"""Read a folder of images as a clip, and an image as a clip of one frame.

Pictures are turned upright as their files say, and become RGB with 8 bits a channel. What
cannot become that without a choice (transparency, 16 bits of grey) is refused.
"""

import re
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from vidsme_jax.data.readers.decoded import (
    BadSegment,
    DecodedClip,
    DecodeError,
    union_indices,
)
from vidsme_jax.data.readers.track import Segment, film_end

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_NEXT_JPEG = b"\xff\xd9\xff\xd8\xff"  # the end of a picture and the start of one
# What lies beside frames without being one of them.
_BESIDE = frozenset(
    ".json .jsonl .txt .csv .xml .yaml .yml .md .log .npy .srt .vtt"
    " .wav .mp3 .m4a .aac .flac .db .ini".split()
)
_RGB_LIKE = ("RGB", "L", "1", "P", "CMYK", "YCbCr", "RGBA", "LA", "PA", "RGBX")


def read_folder(
    folder: Path, counts: Sequence[int], segment: Segment, fps: float | None
) -> DecodedClip:
    """Read the frames that the counts need from a folder of images.

    Args:
        folder: folder of images, whose natural order (2 before 10) is that of the frames.
        counts: numbers of frames to sample.
        segment: the part of the folder that the clip is.
        fps: frames per second; None for unknown.

    Raises:
        BadSegment: the folder has no such part, or its rate is unknown.
        DecodeError: no images, images of several sizes, or an image that cannot be read.
    """
    paths = frames_of(folder)
    first, stop = 0, len(paths)
    if not segment.is_whole:
        if not fps:
            raise BadSegment(
                "a part of a folder of images needs fps, the frames per second"
            )
        times = np.arange(len(paths)) / fps
        first, stop = segment.range_in(times, film_end(times, fps))
    sizes = Counter(_size(path) for path in paths)
    if len(sizes) > 1:
        shown = ", ".join(f"{n} of {w} x {h}" for (w, h), n in sizes.most_common(3))
        raise DecodeError(f"its images have {len(sizes)} sizes ({shown}), expected one")
    indices = union_indices(stop - first, counts)
    pictures = [_pixels(paths[first + n]) for n in indices]
    if len({picture.shape for picture in pictures}) > 1:
        raise DecodeError("its images are turned in several ways")
    frames = np.stack(pictures)
    count, kind = stop - first, _format(paths[first])
    return DecodedClip(
        frames, indices, count, fps or 0.0, "images", codec=kind, container="images"
    )


def read_image(path: Path, segment: Segment) -> DecodedClip:
    """Read an image as a clip of one frame.

    Raises:
        BadSegment: a segment is asked for.
        DecodeError: it cannot be read.
    """
    if not segment.is_whole:
        raise BadSegment("an image has no start and end")
    frames = _pixels(path)[None]
    indices, kind = np.zeros(1, int), _format(path)
    return DecodedClip(frames, indices, 1, 0.0, "images", codec=kind, container="image")


def frames_of(folder: Path) -> list[Path]:
    """Return the images of a folder in natural order.

    Raises:
        DecodeError: there are none, or it is not clear which files are frames.
    """
    paths, inside = [], folder.resolve()
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix.lower() in _BESIDE:
            continue
        if path.suffix.lower() not in SUFFIXES:
            kind = "a folder" if path.is_dir() else "no image"
            raise DecodeError(f"the folder holds {path.name!r}, {kind}, beside its frames")
        if not path.resolve().is_relative_to(inside):
            raise DecodeError(f"{path.name!r} is a link that leaves the folder")
        if not path.is_file():
            raise DecodeError(f"{path.name!r} is no regular file")
        paths.append(path)
    if not paths:
        raise DecodeError(f"the folder has no images ({', '.join(SUFFIXES)})")
    stems = Counter(path.stem for path in paths)
    stem, number = stems.most_common(1)[0]
    if number > 1:
        raise DecodeError(f"the folder has {number} images of the name {stem!r}")
    return sorted(paths, key=_natural)


def _natural(path: Path) -> tuple[list[tuple[str, int]], str]:
    """Return a key by which names sort as people count: frame2 before frame10."""
    parts = re.findall(r"(\D*)(\d*)", path.stem)
    return [(text.lower(), int(digits or -1)) for text, digits in parts], path.name


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(path, formats=_FORMATS)
    except (
        OSError,
        ValueError,
        SyntaxError,
        Warning,
        Image.DecompressionBombError,
    ) as error:
        fault = "it is no image" if "identify" in str(error) else error
        raise DecodeError(f"{path.name}: {fault}") from error


def _format(path: Path) -> str:
    """Return the kind of an image in four letters, such as jpeg or png."""
    with _open(path) as image:
        return (image.format or "").lower()[:4]


def _size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image as it is shown, pixels."""
    with _open(path) as image:
        width, height = image.size
        if image.format == "PNG":  # which would be decoded for it
            return width, height
        is_turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        return (height, width) if is_turned else (width, height)


def _pixels(path: Path) -> np.ndarray:
    """Return an image as RGB [height, width, 3], uint8, upright."""
    with _open(path) as image:
        pictures = getattr(image, "n_frames", 1)
        if image.format == "JPEG":  # Pillow reads the first of a stream, and says nothing
            pictures += path.read_bytes().count(_NEXT_JPEG)
        if pictures > 1 and image.format != "MPO":  # of MPO the first is the photograph
            raise DecodeError(f"{path.name} holds {pictures} pictures, expected one")
        if image.mode not in _RGB_LIKE:
            raise DecodeError(
                f"{path.name} has pixels of mode {image.mode}, expected 8 bits"
            )
        try:
            upright = ImageOps.exif_transpose(image)
            if upright.has_transparency_data:
                alpha = np.asarray(upright.convert("RGBA"))[..., 3]
                if alpha.min() < 255:
                    raise DecodeError(f"{path.name} is transparent in places")
            return np.asarray(upright.convert("RGB"))
        except (OSError, ValueError, SyntaxError) as error:
            raise DecodeError(f"{path.name}: {error}") from error
