"""How a prepared clip is told to tensorflow-datasets, its only import; no TensorFlow.

Its own Video and Image features need TensorFlow; a Tensor of bytes does not.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax.data.prepared import PreparedClip, Wanted
from vidsme_jax.data.readers.tfds import tfds
from vidsme_jax.errors import InputError

NAME, VERSION, SPLIT = "vidsme_clips", "1.0.0", "clips"
_FILE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_TEXTS = ("status", "error", "reader", "fallback", "container", "codec")
_NUMBERS = ("fps", "duration")
_COUNTS = ("frames_total", "width", "height")


def features(wanted: Wanted) -> Any:
    """Return the features of a clip: frames, facts, a row of statistics per count."""
    kinds = tfds().features
    side, count = wanted.crop, len(wanted.counts)
    return kinds.FeaturesDict(
        {
            **{name: kinds.Text() for name in ("video", *_TEXTS)},
            **{name: kinds.Scalar(np.float64) for name in _NUMBERS},
            **{name: kinds.Scalar(np.int64) for name in _COUNTS},
            "frames": kinds.Tensor(
                shape=(None, side, side, 3), dtype=np.uint8, encoding="bytes"
            ),
            "indices": kinds.Tensor(shape=(None,), dtype=np.int64),
            "frame_counts": kinds.Tensor(shape=(count,), dtype=np.int64),
            "motion": kinds.Tensor(shape=(count,), dtype=np.float64),
            "illumination": kinds.Tensor(shape=(count,), dtype=np.float64),
            "thumbnail": kinds.Scalar(np.object_),
        }
    )


def example(video: str, clip: PreparedClip, wanted: Wanted) -> dict[str, Any]:
    """Return a clip under the names of `features`; what is unknown is empty, NaN or 0."""
    facts = clip.facts
    each = [facts.get(str(n), {}) for n in wanted.counts]
    return {
        "video": video,
        **{name: facts.get(name) or "" for name in _TEXTS},
        **{name: facts.get(name) or math.nan for name in _NUMBERS},
        **{name: facts.get(name) or 0 for name in _COUNTS},
        "frames": clip.frames,
        "indices": clip.indices,
        "frame_counts": np.array(wanted.counts, np.int64),
        "motion": np.array([f.get("motion", math.nan) for f in each]),
        "illumination": np.array([f.get("illumination", math.nan) for f in each]),
        "thumbnail": clip.thumbnail,
    }


def describe(folder: Path, lengths: Sequence[int], wanted: Wanted) -> None:
    """Write the metadata that lets tensorflow-datasets open the folder's files.

    Args:
        folder: with one file per entry of lengths, named as `file_name` says.
        lengths: clips of each file.
        wanted: what they are.
    """
    kit = tfds()
    template = kit.core.ShardedFileTemplate(
        data_dir=folder,
        dataset_name=NAME,
        split=SPLIT,
        filetype_suffix="array_record",
        template=_FILE,
    )
    split = kit.core.SplitInfo(
        name=SPLIT, shard_lengths=list(lengths), num_bytes=0, filename_template=template
    )
    kit.folder_dataset.write_metadata(
        data_dir=str(folder),
        features=features(wanted),
        split_infos=[split],
        filename_template=_FILE,
        description="Frames of video clips at the input resolution of a model.",
        check_data=False,
    )


def file_name(number: int, count: int) -> str:
    """Return the name of one of the `count` files."""
    return f"{NAME}-{SPLIT}.array_record-{number:05d}-of-{count:05d}"


def open_source(store: Path) -> Any:
    """Return the clips by number; see `features`."""
    return _builder(store).as_data_source(split=SPLIT)


def _builder(store: Path) -> Any:
    kit, folder = tfds(), store / NAME / VERSION
    missing = [
        n for n in ("dataset_info.json", "features.json") if not (folder / n).exists()
    ]
    if missing:
        raise InputError(f"{folder} lacks {' and '.join(missing)}")
    try:
        return kit.builder(NAME, data_dir=str(store))
    except Exception as error:  # it has one of its own for each file that is damaged
        raise InputError(
            f"{folder} cannot be opened, its .json files may be damaged:"
            f" {type(error).__name__}: {' '.join(str(error).split()):.200}"
        ) from error


def array_record_files(store: Path) -> list[tuple[Path, int]]:
    """Return the files of a finished store, in order, and how many clips each holds."""
    folder = store / NAME / VERSION
    lengths = _builder(store).info.splits[SPLIT].shard_lengths
    return [
        (folder / file_name(n, len(lengths)), length) for n, length in enumerate(lengths)
    ]
