"""`vidsme train`: fine-tune a checkpoint on the rows of a manifest with label 1."""

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from vidsme_jax.batch import Prompt
from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.data.clips import prepare_clips
from vidsme_jax.data.manifest import Row, read_manifests
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import geometry_of
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.hub import find_checkpoint
from vidsme_jax.models.checkpoints.loading import read_others, save_params
from vidsme_jax.models.port import Port
from vidsme_jax.models.prompts.template import Slot
from vidsme_jax.models.prompts.times import excess, frame_times
from vidsme_jax.models.toy import CODES, code_token
from vidsme_jax.models.video_llm import make_forward
from vidsme_jax.progress import progress, say
from vidsme_jax.records.files import write_json
from vidsme_jax.scores.catalogue import SLICES
from vidsme_jax.training.fit import Sample, TrainSettings, fit, visual_codes

FRAME_ORDERS = ("natural", "shuffled")
_INDEX = ".safetensors.index.json"


@dataclass(frozen=True)
class TrainRequest:
    """What `vidsme train` was asked for; see its --help.

    Attributes:
        model: checkpoint to start from, directory or hub id.
        data: manifests; rows with label 1 are trained on.
        out: the new checkpoint.
        recipe: of the optimiser.
        frames: of each clip.
        objective: text or text+video.
        root: folder that video paths start from.
        labels: one label a manifest.
        frame_order: of `FRAME_ORDERS`; shuffled: each time that a clip is drawn, its
            sampled frames come in a new random order, decided by the recipe's seed.
        max_text: tokens of question and answer that a row may have.
    """

    model: str | Path
    data: tuple[Path, ...]
    out: Path
    recipe: TrainSettings
    frames: int = 16
    objective: str = "text"
    root: Path | None = None
    labels: tuple[int, ...] | None = None
    frame_order: str = "natural"
    max_text: int = 2048


def train(request: TrainRequest) -> list[float]:
    """Fine-tune and write a checkpoint in the layout it came in; return the losses.

    Raises:
        InputError: wrong input, a clip that cannot be read, an output that exists.
    """
    if request.out.exists():
        raise InputError(f"out={request.out} exists, expected a new directory")
    labels = None if request.labels is None else list(request.labels)
    rows = read_manifests(list(request.data), request.root, labels)
    members = [row for row in rows if row.label == 1]
    if not members:
        raise InputError(f"no row of {len(rows)} has label 1, expected members to train on")
    mute = [row.video for row in members if not row.answer]
    if mute:
        raise InputError(f"video={mute[0]} has no answer, expected one for every member")
    port = open_port(find_checkpoint(str(request.model)))
    if request.out.resolve().is_relative_to(port.directory.resolve()):
        raise InputError(f"out={request.out} lies in model={port.directory}")
    request.out.parent.mkdir(parents=True, exist_ok=True)  # now, not after training
    port.check_weights()
    _check_order(request.frame_order, port)
    codes = _code_ids(port) if request.objective == "text+video" else None
    pixels, prompts = _read_clips(port, members, request.frames, request.max_text)
    shuffle = None
    if request.frame_order == "shuffled":  # the seed alone deals the order of the clips
        shuffle = np.random.default_rng([request.recipe.seed, 2])
    gather = _samples(port, prompts, pixels, codes, shuffle)
    device = jax.local_devices()[0]
    here = jax.sharding.SingleDeviceSharding(device)
    params = port.load(np.float32, lambda spec, shape: here)
    forward = make_forward(port.config, natural_only=True)
    params, losses = fit(params, forward, gather, len(members), request.recipe, _watch)
    if not np.all(np.isfinite(losses)):
        step = int(np.argmin(np.isfinite(losses))) + 1
        raise InputError(
            f"the loss is {losses[step - 1]} at step {step}, nothing was written:"
            f" learning_rate={request.recipe.learning_rate} is too high for this model"
        )
    _write(port, params, request, losses.tolist())
    say(f"trained on {len(members)} clips: loss {losses[0]:.3f} to {losses[-1]:.3f}")
    return losses.tolist()


def _watch(calls: range) -> Iterable[int]:
    return progress(calls, len(calls), "train, calls of a few steps")


def _check_order(order: str, port: Port) -> None:
    """Refuse an order of the frames that does not exist, or that the prompt belies."""
    if order not in FRAME_ORDERS:
        raise InputError(f"frame_order={order}, expected one of {', '.join(FRAME_ORDERS)}")
    if order == "shuffled" and Slot.TIMES in port.template.pieces:
        raise InputError(
            f"frame_order=shuffled: the prompt of {port.directory} says when its frames"
            " were taken, expected natural"
        )


def _code_ids(port: Port) -> np.ndarray:
    """Return the ids of the visual codes' tokens; they must be in the tokenizer."""
    kind = port.config.connector
    if kind.pool == "bilinear" or kind.newline != "none" or kind.class_token:
        raise InputError(
            f"objective=text+video: the embeddings of {port.name} are no plain grid"
        )
    return np.array([port.tokenizer.special(code_token(n)) for n in range(CODES)], np.int32)


def _read_clips(
    port: Port, rows: list[Row], frames: int, max_text: int
) -> tuple[np.ndarray, list[Prompt]]:
    """Decode all clips into memory, since training needs every clip.

    Returns:
        Pixels, [clip frame crop crop 3], and the prompts of the rows.

    Raises:
        InputError: a clip that cannot be read, a text that is too long.
    """
    spec = ClipSpec((frames,), geometry_of(port.processor))
    steps = prepare_clips([[row.path] for row in rows], spec)
    pixels, prompts = [], []
    for row, (clip,) in zip(rows, progress(steps, len(rows), "decode, clips"), strict=True):
        facts = clip.facts
        if not facts.is_ok:
            raise InputError(f"video={row.video}: {facts.error}")
        fps, duration, times = facts.file.fps, facts.file.duration, None
        if fps and duration:
            times = frame_times(duration, fps, facts.at[frames].frame_indices)
        elif Slot.TIMES in port.template.pieces:
            raise InputError(f"video={row.video} has no frame rate for the prompt")
        prompts.append(port.prompt(row.question, row.answer, times=times))
        if reason := excess(prompts[-1], max_text):
            raise InputError(f"video={row.video}: {reason}")
        pixels.append(clip.sample(frames))
    port.check_length(prompts, frames)
    return np.stack(pixels), prompts


def _samples(
    port: Port,
    prompts: list[Prompt],
    pixels: np.ndarray,
    codes: np.ndarray | None,
    shuffle: np.random.Generator | None,
) -> Callable[[np.ndarray], Sample]:
    """Return the function that gathers the arrays of some rows.

    With `shuffle`, what it returns depends on the calls before: `fit` makes them in the
    order of the steps.
    """
    end = port.tokenizer.special(port.template.end)
    # A model learns to end its turn too; scoring leaves that token out.
    prompts = [p._replace(answer=(*p.answer, end)) for p in prompts]
    config, frames = port.config, pixels.shape[1]
    connector, size = config.connector, config.tokens_per_frame
    layout = make_layout(prompts, frames, size, SLICES, connector.tail)
    grid = connector.side(config.vision.grid)
    area = config.vision.patch * connector.stride

    def gather(numbers: np.ndarray) -> Sample:
        shown = pixels[numbers]
        if shuffle is not None:
            shown = _shuffle_frames(shown, shuffle)
        batch = make_batch([prompts[n] for n in numbers], shown, layout)
        answer = batch.masks[:, SLICES.index("response")].astype(np.float32)
        weights = answer / answer.sum(axis=1, keepdims=True)
        if codes is None:
            return Sample(batch, weights)
        # The row at one video position learns the code of the next.
        seen = visual_codes(shown, grid, area)
        follow = codes[seen].reshape(len(numbers), -1)[:, 1:]
        batch.targets[:, : follow.shape[1]] = follow
        weights[:, : follow.shape[1]] = 1 / follow.shape[1]
        return Sample(batch, weights)

    return gather


def _shuffle_frames(
    pixels: UInt8[np.ndarray, "clip frame height width 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "clip frame height width 3"]:
    """Return the clips with the frames of each in a random order of its own."""
    clips, frames = pixels.shape[:2]
    order = rng.permuted(np.tile(np.arange(frames), (clips, 1)), axis=1)
    return pixels[np.arange(clips)[:, None], order]


def _copy_small_files(old: Path, new: Path) -> None:
    """Copy all but the weights; content only, since the old ones may be read-only."""
    for path in old.rglob("*"):
        weights = path.suffix in (".safetensors", ".bin") or path.name.endswith(_INDEX)
        if path.is_file() and not weights:
            copy = new / path.relative_to(old)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _write(port: Port, params: Any, request: TrainRequest, losses: list[float]) -> None:
    """Write the checkpoint beside its final place, then rename it."""
    with tempfile.TemporaryDirectory(dir=request.out.parent) as folder:
        new = Path(folder) / "checkpoint"
        _copy_small_files(port.directory, new)
        others, keys = read_others(port.directory, port.rules, port.names, port.abstract)
        save_params(new / "model.safetensors", params, port.rules, others, keys)
        recipe = asdict(request.recipe) | {
            "objective": request.objective,
            "frames": request.frames,
            "frame_order": request.frame_order,
            "loss": losses,
        }
        write_json(new / "training.json", recipe)
        new.rename(request.out)
