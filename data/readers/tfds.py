"""Read clips of an existing tensorflow-datasets data set: `tfds:NAME/SPLIT`.

The data set must be stored as ArrayRecord and have exactly one feature of frames, uint8
[T, H, W, 3]. Scalar features become columns of a manifest. A ClassLabel says what a clip
shows, not whether it was trained on, and becomes the column `class`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax import reading
from vidsme_jax.data.readers.decoded import DecodedClip, DecodeError, union_indices
from vidsme_jax.data.readers.source import VideoFile
from vidsme_jax.errors import InputError

PREFIX = "tfds:"


@dataclass(frozen=True)
class Example:
    """The place of a clip in a data set, which stands for the path of a file.

    Attributes:
        folder: folder of the data set; None for the default of tensorflow-datasets.
        name: name of the data set.
        split: name of the split.
        feature: name of the feature that holds the frames.
        index: number of the example within the split.
    """

    folder: str | None
    name: str
    split: str
    feature: str
    index: int

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}/{self.split}#{self.index}"


Source = Path | VideoFile | Example  # of a clip


def read_examples(
    data: str, folder: Path | None
) -> tuple[list[dict[str, Any]], list[Example]]:
    """Read every example of a split as a record of a manifest, without its frames.

    Args:
        data: tfds:NAME/SPLIT.
        folder: folder of the data set; None for the default of tensorflow-datasets.

    Returns:
        The records, and the places of the examples.

    Raises:
        InputError: no such data set, or it cannot be read without TensorFlow.
    """
    name, _, split = data.removeprefix(PREFIX).rpartition("/")
    if not name:
        raise InputError(f"data={data}, expected tfds:NAME/SPLIT")
    data_dir = None if folder is None else str(folder)
    builder = _builder(data, data_dir, name)
    if split not in builder.info.splits:
        raise InputError(f"data={data}: there are splits {', '.join(builder.info.splits)}")
    feature = _frames_feature(data, builder.info.features)
    kinds = {k: v for k, v in builder.info.features.items() if k != feature}
    skipped = {feature: tfds().decode.SkipDecoding()}
    if not builder.info.splits[split].num_examples:
        raise InputError(f"data={data} has no examples")
    try:
        source = builder.as_data_source(split=split, decoders=skipped)
        records = [
            _record(source[n], kinds) | {"video": f"{name}/{split}#{n}"}
            for n in range(len(source))
        ]
    except (OSError, RuntimeError, ValueError, IndexError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"data={data} is damaged: {line:.200}") from error
    return records, [
        Example(data_dir, name, split, feature, n) for n in range(len(records))
    ]


def check_files(data: str, folder: Path) -> None:
    """Refuse the files of a data set that are none, or whose JSON is damaged or too large.

    Args:
        data: what names the data set, for errors.
        folder: its folder.

    Raises:
        InputError: with the first such file.
    """
    for path in sorted(p for p in folder.rglob("*") if not p.is_dir()):
        try:
            reading.check_file(path)
            if path.suffix == ".json":
                reading.read_json(path)
        except (OSError, ValueError) as error:
            raise InputError(f"data={data}: {path}: {error}") from error


def _builder(data: str, folder: str | None, name: str) -> Any:
    kit = tfds()
    if folder is not None:
        check_files(data, Path(folder) / name.partition(":")[0])
    try:
        builder = kit.builder(name, data_dir=folder)
    except Exception as error:  # of its registry, its files, or TensorFlow's absence
        line = " ".join(str(error).split())
        if type(error).__name__ == "DatasetNotFoundError":  # with a list of all there are
            raise InputError(
                f"data={data}: no data set of that name in"
                f" {folder or 'the default folder'}; --root names the folder"
            ) from error
        if isinstance(error, ImportError) and (error.name or "") in ("", "tensorflow"):
            raise InputError(
                f"data={data} cannot be read without TensorFlow (its own Video and Image"
                " features need it); expected frames as a Tensor of uint8 [T, H, W, 3]"
            ) from error
        raise InputError(f"data={data} cannot be opened: {line:.200}") from error
    stored = builder.info.file_format
    if stored is None or stored.value != "array_record":
        kind = stored.value if stored else "nothing"
        raise InputError(
            f"data={data} is stored as {kind}, expected array_record, which needs no"
            " TensorFlow"
        )
    return builder


def _frames_feature(data: str, features: Any) -> str:
    """Return the name of the only feature that can hold frames."""
    fits = [
        name
        for name, kind in features.items()
        if type(kind).__name__ == "Tensor"
        and len(kind.shape) == 4
        and kind.shape[-1] == 3
        and kind.np_dtype == np.uint8
    ]
    if len(fits) != 1:
        kinds = ", ".join(f"{k} {type(v).__name__}" for k, v in features.items())
        raise InputError(
            f"data={data} has features {kinds}; expected one Tensor of uint8 [T, H, W, 3]"
        )
    return fits[0]


def _record(example: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    """Return the numbers and texts of an example as a record of a manifest."""
    out = {}
    for name in kinds:
        value = example[name]
        if type(kinds[name]).__name__ == "ClassLabel":
            out["class" if name == "label" else name] = kinds[name].int2str(int(value))
        elif np.ndim(value) == 0:
            plain = value.item() if isinstance(value, np.generic) else value
            out[name] = (
                plain.decode(errors="replace") if isinstance(plain, bytes) else plain
            )
    return out


def read_example(example: Example, counts: Sequence[int]) -> DecodedClip:
    """Read the frames of an example that the frame counts need."""
    values = _source(example.folder, example.name, example.split)[example.index]
    frames = np.asarray(values[example.feature])
    if not frames.size:
        raise DecodeError("it has no frames")
    total = len(frames)
    indices = union_indices(total, counts)
    return DecodedClip(
        frames[indices], indices, total, 0.0, "tfds", container="array_record"
    )


@lru_cache(4)
def _source(folder: str | None, name: str, split: str) -> Any:
    return tfds().builder(name, data_dir=folder).as_data_source(split=split)


def tfds() -> Any:
    """Return the module tensorflow-datasets, whose import takes a second.

    Raises:
        InputError: it cannot be imported, as some releases with a newer protobuf.
    """
    try:
        import tensorflow_datasets
    except (ImportError, AttributeError, TypeError) as error:
        raise InputError(
            f"tensorflow-datasets cannot be imported ({type(error).__name__}: {error});"
            " pip install --upgrade tensorflow-datasets"
        ) from error
    return tensorflow_datasets
