"""Tell that a clip changed after it was read: its size, or the time of its last change."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vidsme_jax.data.prepared import ClipFacts, Stamp
from vidsme_jax.data.readers.source import VideoFile
from vidsme_jax.data.readers.tfds import Example, Source
from vidsme_jax.data.rows import Row


def stamp_of(source: Source) -> Stamp | None:
    """Return size and time of a clip's file; None for no file, or a part of a data set.

    A segment has those of its whole file. A folder of images has the sizes of its files
    together, and the latest time among them and its own.
    """
    if isinstance(source, Example):
        return None
    path = source.path if isinstance(source, VideoFile) else source
    try:
        stats = [path.stat()]
        if path.is_dir():
            stats += [file.stat() for file in path.iterdir()]
            sizes = [stat.st_size for stat in stats[1:]]
        else:
            sizes = [stats[0].st_size]
    except OSError:
        return None
    return Stamp(sum(sizes), max(stat.st_mtime_ns for stat in stats))


@dataclass(frozen=True)
class ChangedClip:
    """A clip that is not the one that was read.

    Attributes:
        video: name of the clip in the manifest.
        rows: numbers of the manifest rows that keep what was made of it before.
        was: size and time of what was read.
        now: size and time of what is there.
    """

    video: str
    rows: tuple[int, ...]
    was: Stamp
    now: Stamp

    def to_json(self) -> dict[str, Any]:
        """Return the note that a run or a store keeps."""
        stamps = {"was": vars(self.was), "now": vars(self.now)}
        return {"video": self.video, "rows": list(self.rows), **stamps}


def find_changed(
    rows: Sequence[Row], read: Iterable[tuple[int, Stamp | None]]
) -> list[ChangedClip]:
    """Return the clips that changed after they were read, in the order of their rows.

    A clip that is gone has not changed.

    Args:
        rows: rows of the manifests.
        read: numbers of the rows whose clips were read, each with the stamp of then.
    """
    now: dict[Source, Stamp | None] = {}
    changed: dict[tuple[str, Stamp, Stamp], list[int]] = {}
    for number, was in sorted(read, key=lambda pair: pair[0]):
        source = rows[number].path
        if was is None:
            continue
        if source not in now:
            now[source] = stamp_of(source)
        current = now[source]
        if current is not None and current != was:
            key = (rows[number].video, was, current)
            numbers = changed.setdefault(key, [])
            if number not in numbers[-1:]:  # once, whatever the frame counts
                numbers.append(number)
    return [ChangedClip(video, tuple(n), *s) for (video, *s), n in changed.items()]


def stamps_of_rows(
    numbers: Sequence[int], clips: Sequence[int], facts: dict[int, ClipFacts]
) -> list[tuple[int, Stamp | None]]:
    """Return the stamp of each row whose clip has facts.

    Args:
        numbers: for each row of a store, its number in the manifest.
        clips: for each row of a store, the number of its clip.
        facts: facts of the clips that were read, by number.
    """
    pairs = zip(numbers, clips, strict=True)
    return [(number, facts[clip].stamp) for number, clip in pairs if clip in facts]
