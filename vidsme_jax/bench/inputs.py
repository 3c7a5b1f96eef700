"""Make what `vidsme bench` runs on: a checkpoint of random weights, clips and batches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vidsme_jax.batch import Batch
from vidsme_jax.bench.timed_clip import prepare_timed
from vidsme_jax.data.batches import Layout, make_batch, make_layout
from vidsme_jax.data.preprocess import geometry_of
from vidsme_jax.data.synthetic.shapes import FPS, draw_clip, write_mp4
from vidsme_jax.data.workers import WorkerDied, Workers, WorkerTimeout
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.port import Port
from vidsme_jax.models.toy import write_toy
from vidsme_jax.scores import catalogue
from vidsme_jax.scores.definition import Orders

_SECONDS = 600.0  # within which a clip must be read
_QUESTION = "What moves in this video?"
_ENLARGED = 5  # the synthetic clips' 64 x 80 pixels, so that reading them is some work
_MEDIUM = {
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "num_key_value_heads": 4,
    "vocab_size": 32_000,
}
_MEDIUM_TOWER = {
    "hidden_size": 384,
    "image_size": 336,
    "intermediate_size": 1536,
    "num_attention_heads": 6,
    "num_hidden_layers": 12,
    "patch_size": 14,
}
_LONGVA = {
    "hidden_size": 3584,
    "intermediate_size": 18_944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "rope_theta": 1e6,
    "vocab_size": 152_064,
}
_CLIP_L_336 = {
    "hidden_size": 1024,
    "image_size": 336,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "patch_size": 14,
}
# Fields of the decoder and of the tower that replace the toy's, and the weights' type.
SIZES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "toy": ({}, {}, "float32"),
    "medium": (_MEDIUM, _MEDIUM_TOWER, "float32"),
    "7b": (_LONGVA, _CLIP_L_336, "bfloat16"),
}


@dataclass(frozen=True)
class Inputs:
    """What every contestant scores.

    Attributes:
        port: the checkpoint.
        layout: shapes of a clip.
        batches: batches of host arrays, each with the entropy orders of its clips.
        decode: seconds a clip to decode, resize and crop, in a single process.
        flow: seconds a clip for optical flow and illumination, in a single process.
    """

    port: Port
    layout: Layout
    batches: list[tuple[Batch, Orders]]
    decode: float
    flow: float


def make_inputs(folder: Path, size: str, frames: int, clips: int, batch: int) -> Inputs:
    """Write checkpoint and clips, then read the clips as a run does.

    Args:
        folder: directory to write in.
        size: a name of `SIZES`.
        frames: number of frames of a clip.
        clips: number of clips.
        batch: clips of a batch; a divisor of `clips`.

    Raises:
        InputError: a clip could not be read in time.
    """
    generators = np.random.default_rng(0).spawn(clips)
    frames_of_clips, captions = zip(
        *(draw_clip(rng, "shapes") for rng in generators), strict=True
    )
    texts = [f"{_QUESTION}\n{caption}" for caption in captions]
    decoder, tower, dtype = SIZES[size]
    port = open_port(write_toy(folder / "model", texts, 0, decoder, tower, dtype))
    paths = [_write_clip(folder, n, shown) for n, shown in enumerate(frames_of_clips)]
    timed = _read(paths, port, frames)
    prompts = [port.prompt(_QUESTION, caption) for caption in captions]
    layout = make_layout(prompts, port.video(frames), catalogue.SLICES)
    spans = [slice(first, first + batch) for first in range(0, clips, batch)]
    pixels = np.stack([pixels for pixels, *_ in timed])
    batches = [make_batch(prompts[span], pixels[span], layout) for span in spans]
    orders = [_orders(clips, span) for span in spans]
    decode, flow = (float(np.median([clip[n] for clip in timed])) for n in (1, 2))
    return Inputs(port, layout, list(zip(batches, orders, strict=True)), decode, flow)


def _write_clip(folder: Path, n: int, frames: UInt8[np.ndarray, "frame h w 3"]) -> Path:
    """Write the frames of clip n, enlarged, as an MP4 file; return its path."""
    path = folder / f"clip-{n:03d}.mp4"
    write_mp4(path, frames.repeat(_ENLARGED, axis=1).repeat(_ENLARGED, axis=2), FPS)
    return path


def _read(paths: list[Path], port: Port, frames: int) -> list[Any]:
    """Read the clips in a process of their own; return pixels and seconds of each."""
    workers, geometry = Workers(prepare_timed, 1, _SECONDS), geometry_of(port.processor)
    try:
        return [workers.submit(path, frames, geometry).result() for path in paths]
    except (WorkerDied, WorkerTimeout) as error:
        raise InputError(f"frames={frames}: {error}") from error
    finally:
        workers.close()


def _orders(clips: int, span: slice) -> Orders:
    """Return the orders of a span of the clips, out of even steps over usual ranges."""
    q: Any = np.linspace(0.3, 0.9, clips, dtype=np.float32)
    r: Any = np.linspace(0.02, 0.08, clips, dtype=np.float32)
    return Orders(q[span, None], r[span, None])
