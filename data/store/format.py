"""Store prepared clips as a data set of tensorflow-datasets, without TensorFlow.

The data set keeps frames as a Tensor of bytes, since the features Video and Image need
TensorFlow.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax.data.prepared import ClipSpec, PreparedClip
from vidsme_jax.data.readers.tfds import check_files, tfds
from vidsme_jax.errors import InputError

NAME, VERSION, SPLIT = "vidsme_clips", "1.0.0", "clips"
_FILE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_TEXTS = ("status", "error", "reader", "fallback", "container", "codec")
_NUMBERS = ("fps", "duration")
_SIZES = ("frames_total", "width", "height")


def clip_features(spec: ClipSpec) -> Any:
    """Return the features of the data set: frames, facts, statistics per frame count."""
    kinds = tfds().features
    side, count = spec.geometry.crop, len(spec.counts)
    return kinds.FeaturesDict(
        {
            **{name: kinds.Text() for name in ("video", *_TEXTS)},
            **{name: kinds.Scalar(np.float64) for name in _NUMBERS},
            **{name: kinds.Scalar(np.int64) for name in _SIZES},
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


def clip_example(video: str, clip: PreparedClip, spec: ClipSpec) -> dict[str, Any]:
    """Return a clip as values by feature; unknown values are "", NaN or 0.

    Args:
        video: path of the clip.
        clip: the prepared clip.
        spec: request with the frame counts of the statistics.
    """
    values = {**vars(clip.facts), **vars(clip.facts.file)}
    frames = [clip.facts.at.get(count) for count in spec.counts]
    return {
        "video": video,
        **{name: values[name] or "" for name in _TEXTS},
        **{name: values[name] or math.nan for name in _NUMBERS},
        **{name: values[name] or 0 for name in _SIZES},
        "frames": clip.frames,
        "indices": clip.indices,
        "frame_counts": np.array(spec.counts, np.int64),
        "motion": np.array([f.motion if f else math.nan for f in frames]),
        "illumination": np.array([f.illumination if f else math.nan for f in frames]),
        "thumbnail": clip.thumbnail,
    }


def write_metadata(folder: Path, lengths: Sequence[int], spec: ClipSpec) -> None:
    """Write the metadata with which tensorflow-datasets opens the files of a folder.

    Args:
        folder: folder with a file per entry of `lengths`, named by `file_name`.
        lengths: number of clips of each file.
        spec: request that decides the shapes of the clips.
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
        features=clip_features(spec),
        split_infos=[split],
        filename_template=_FILE,
        description="Frames of video clips at the input resolution of a model.",
        check_data=False,
    )


def file_name(number: int, count: int) -> str:
    """Return the name of a file of frames, by its number among `count` files."""
    return f"{NAME}-{SPLIT}.array_record-{number:05d}-of-{count:05d}"


def open_source(store: Path) -> Any:
    """Open the clips of a finished store, by number; see `clip_features`."""
    return _builder(store).as_data_source(split=SPLIT)


def _builder(store: Path) -> Any:
    kit, folder = tfds(), store / NAME / VERSION
    missing = [
        n for n in ("dataset_info.json", "features.json") if not (folder / n).exists()
    ]
    if missing:
        raise InputError(f"{folder} lacks {' and '.join(missing)}")
    check_files(str(store), folder)
    try:
        return kit.builder(NAME, data_dir=str(store))
    except Exception as error:  # every damaged file raises another class of errors
        raise InputError(
            f"{folder} cannot be opened, its .json files may be damaged:"
            f" {type(error).__name__}: {' '.join(str(error).split()):.200}"
        ) from error


def array_record_files(store: Path) -> list[tuple[Path, int]]:
    """Return the files of a finished store, in order, with the number of clips in each."""
    folder = store / NAME / VERSION
    lengths = _builder(store).info.splits[SPLIT].shard_lengths
    return [
        (folder / file_name(n, len(lengths)), length) for n, length in enumerate(lengths)
    ]
