"""Many clips, prepared ahead of the one in use by the processes of `workers`."""

import os
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from vidsme_jax.data.prepared import PreparedClip, Wanted, bad_clip
from vidsme_jax.data.readers.tfds import Source
from vidsme_jax.data.workers import WorkerDied, Workers, WorkerTimeout

_AHEAD = 2  # clips per worker decoded ahead of the batch in use


@dataclass(frozen=True)
class Decoding:
    """How clips are decoded; it changes no number.

    Attributes:
        workers: processes; one per core that this process may use by default.
        clip_timeout: seconds that a clip may take.
    """

    workers: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    clip_timeout: float = 300.0


def prepare_clips(
    batches: Iterable[Sequence[Source]],
    wanted: Wanted,
    decoding: Decoding | None = None,
) -> Generator[list[PreparedClip], None, None]:
    """Yield every batch prepared, in order, decoding a few clips ahead in parallel.

    Args:
        batches: the files of each batch; one that a batch names twice is decoded once.
        wanted: what to make of each clip.
        decoding: with how many processes, and how long each clip may take.
    """
    how = decoding or Decoding()
    workers = Workers("vidsme_jax.data.prepare_clip:prepare", how.workers, how.clip_timeout)
    pending: deque[list[Future]] = deque()
    try:
        for paths in batches:
            once = {path: workers.submit(path, wanted) for path in dict.fromkeys(paths)}
            pending.append([once[path] for path in paths])
            if sum(map(len, pending)) - len(pending[0]) >= _AHEAD * how.workers:
                yield [_result(f, wanted) for f in pending.popleft()]
        while pending:
            yield [_result(f, wanted) for f in pending.popleft()]
    finally:  # an interrupted run does not wait for clips nobody will use
        workers.close()


def _result(future: Future, wanted: Wanted) -> PreparedClip:
    try:
        return future.result()
    except WorkerTimeout as error:
        return bad_clip(wanted, "timeout", str(error))
    except WorkerDied as error:
        return bad_clip(wanted, "decode_error", str(error))
