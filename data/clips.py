"""Prepare many clips in parallel processes, ahead of the clip in use."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from vidsme_jax.data.prepare_clip import prepare_clip
from vidsme_jax.data.prepared import ClipSpec, PreparedClip, bad_clip
from vidsme_jax.data.readers.tfds import Source
from vidsme_jax.data.workers import WorkerDied, Workers, WorkerTimeout
from vidsme_jax.errors import check_counts, check_rates

_AHEAD = 2  # clips per worker decoded ahead of the batch in use


@dataclass(frozen=True)
class Decoding:
    """The processes that decode clips; they change no number.

    Attributes:
        workers: number of processes; by default that of the cores this process may use.
        clip_timeout: longest time that a clip may take, seconds.
    """

    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    clip_timeout: float = 300.0

    def __post_init__(self) -> None:
        """Refuse values with which nothing is decoded."""
        check_counts(self, "workers")
        check_rates(self, "clip_timeout")


def prepare_clips(
    batches: Iterable[Sequence[Source]],
    spec: ClipSpec,
    decoding: Decoding | None = None,
) -> Generator[list[PreparedClip], None, None]:
    """Yield every batch prepared, in order, decoding a few clips ahead in parallel.

    Args:
        batches: the files of each batch; a file that a batch names twice is decoded once.
        spec: frames to make of each clip.
        decoding: number of processes, and time limit of a clip.
    """
    decoding = decoding or Decoding()
    workers = Workers(prepare_clip, decoding.workers, decoding.clip_timeout)
    pending: deque[list[Future]] = deque()
    try:
        for paths in batches:
            futures = {path: workers.submit(path, spec) for path in dict.fromkeys(paths)}
            pending.append([futures[path] for path in paths])
            if sum(map(len, pending)) - len(pending[0]) >= _AHEAD * decoding.workers:
                yield [_result(future, spec) for future in pending.popleft()]
        while pending:
            yield [_result(future, spec) for future in pending.popleft()]
    finally:  # an interrupted run does not wait for clips nobody will use
        workers.close()


def _result(future: Future, spec: ClipSpec) -> PreparedClip:
    """Return a prepared clip once it is ready; a bad clip where its process failed."""
    try:
        return future.result()
    except WorkerTimeout as error:
        return bad_clip(spec, "timeout", str(error))
    except WorkerDied as error:
        return bad_clip(spec, "decode_error", str(error))
