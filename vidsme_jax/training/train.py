"""`vidsme train`: fine-tune a checkpoint on the rows of a manifest with label 1."""

import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from vidsme_jax.batch import Prompt
from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.data.clips import prepare_clips
from vidsme_jax.data.manifest import ManifestSettings, read_manifests
from vidsme_jax.data.prepared import ClipSpec
from vidsme_jax.data.preprocess import geometry_of
from vidsme_jax.data.rows import Row
from vidsme_jax.errors import (
    InputError,
    check_counts,
    check_names,
    local_devices,
    needing_memory,
)
from vidsme_jax.models import find_port
from vidsme_jax.models.architecture import CodeGrid
from vidsme_jax.models.port import Port
from vidsme_jax.models.prompts.times import excess, frame_times
from vidsme_jax.progress import phase, progress, say
from vidsme_jax.records.files import write_json
from vidsme_jax.scores.catalogue import SLICES
from vidsme_jax.training.fit import Recipe, TrainBatch, fit, visual_codes

FRAME_ORDERS = ("natural", "shuffled")
OBJECTIVES = ("text", "text+video")
_INDEX = ".safetensors.index.json"


@dataclass(frozen=True)
class TrainSettings:
    """What `vidsme train` does; see its --help.

    Attributes:
        model: checkpoint to start from, directory or hub id.
        data: manifests; rows with label 1 are trained on.
        out: directory of the new checkpoint.
        recipe: how it is optimised.
        frames: frames sampled from each clip.
        objective: what is learned, text or text+video.
        manifests: how the manifests are read.
        frame_order: of `FRAME_ORDERS`. With shuffled, the sampled frames come in a new
            random order each time that a clip is drawn; the recipe's seed decides it.
        max_text: tokens of question and answer that a row may have.
        adapter: folder of a LoRA adapter of PEFT that is merged into the model first.
        ignore_fields: fields of the model's configs that are ignored where the port lacks
            them.
    """

    model: str | Path
    data: tuple[Path, ...]
    out: Path
    recipe: Recipe = Recipe()
    frames: int = 16
    objective: str = "text"
    manifests: ManifestSettings = ManifestSettings()
    frame_order: str = "natural"
    max_text: int = 2048
    adapter: Path | None = None
    ignore_fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that no training can have."""
        check_counts(self, "frames", "max_text")
        check_names(self, objective=OBJECTIVES)


def train(settings: TrainSettings) -> list[float]:
    """Fine-tune and write a checkpoint in the layout it came in; return the losses.

    Raises:
        InputError: wrong input, a clip that cannot be read, an output that exists.
    """
    if settings.out.exists():
        raise InputError(f"out={settings.out} exists, expected a new directory")
    rows = read_manifests(settings.data, settings.manifests)
    members = [row for row in rows if row.label == 1]
    if not members:
        raise InputError(f"no row of {len(rows)} has label 1, expected members to train on")
    unanswered = [row.video for row in members if not row.answer]
    if unanswered:
        raise InputError(
            f"video={unanswered[0]} has no answer, expected one for every member"
        )
    device = local_devices()[0]  # now, not after decoding
    port = find_port(settings.model, settings.adapter, settings.ignore_fields)
    if settings.out.resolve().is_relative_to(port.directory.resolve()):
        raise InputError(f"out={settings.out} lies in model={port.directory}")
    settings.out.parent.mkdir(parents=True, exist_ok=True)  # now, not after training
    port.check_weights()
    _check_frame_order(settings.frame_order, port)
    remedy = (
        f"batch={settings.recipe.batch} clips of {settings.frames} frames and"
        f" {len(members)} clips to learn; a smaller --batch or fewer --frames need less"
    )
    with needing_memory(remedy):
        params, losses = _learn(settings, port, members, device)
    if not np.all(np.isfinite(losses)):
        step = int(np.argmin(np.isfinite(losses))) + 1
        raise InputError(
            f"the loss is {losses[step - 1]} at step {step}, nothing was written:"
            f" learning_rate={settings.recipe.learning_rate} is too high for this model"
        )
    phase("train", "write the checkpoint")
    _write(port, params, settings, losses.tolist())
    say(f"trained on {len(members)} clips: loss {losses[0]:.3f} to {losses[-1]:.3f}")
    if settings.adapter:
        say(f"{settings.out} is a whole checkpoint, in which the adapter is merged")
    return losses.tolist()


def _learn(
    settings: TrainSettings, port: Port, members: list[Row], device: jax.Device
) -> tuple[Any, np.ndarray]:
    """Decode the members and train on them; return parameters and losses [step]."""
    codes = port.visual_codes() if settings.objective == "text+video" else None
    phase("train", "decode the clips", f"{len(members)} rows")
    pixels, prompts = _read_clips(port, members, settings.frames, settings.max_text)
    shuffle = None
    if settings.frame_order == "shuffled":  # the bare seed draws the order of the clips
        shuffle = np.random.default_rng([settings.recipe.seed, 2])
    gather = _make_gather(port, prompts, pixels, codes, shuffle)
    here = jax.sharding.SingleDeviceSharding(device)
    phase("train", "load the model")
    params = port.load(np.float32, lambda spec, shape: here)
    phase("train", "compile and train", f"{settings.recipe.steps} steps")
    watch = partial(_watch, settings.recipe)
    return fit(params, port.train_forward, gather, len(members), settings.recipe, watch)


def _watch(recipe: Recipe, calls: range) -> Iterable[int]:
    """Show the progress of training, in clips that were drawn."""
    sizes = [min(calls.step, recipe.steps - first) * recipe.batch for first in calls]
    return progress(calls, sum(sizes), "train", sizes=sizes)


def _check_frame_order(order: str, port: Port) -> None:
    """Refuse a frame order that does not exist, or that contradicts the prompt's times."""
    if order not in FRAME_ORDERS:
        raise InputError(f"frame_order={order}, expected one of {', '.join(FRAME_ORDERS)}")
    if order == "shuffled" and port.template.says_times:
        raise InputError(
            f"frame_order=shuffled: the prompt of {port.directory} says when its frames"
            " were taken, expected natural"
        )


def _read_clips(
    port: Port, rows: list[Row], frames: int, max_text: int
) -> tuple[np.ndarray, list[Prompt]]:
    """Decode all clips into memory; return their pixels and prompts.

    Returns:
        Pixels, uint8 [clip frame crop crop 3], and the prompts of the rows.

    Raises:
        InputError: a clip that cannot be read, a text that is too long.
    """
    if line := port.template.lost_turns(sum(bool(row.history) for row in rows)):
        say(line)
    spec = ClipSpec((frames,), geometry_of(port.processor))
    steps = prepare_clips([[row.path] for row in rows], spec)
    pixels, prompts = [], []
    for row, (clip,) in zip(rows, progress(steps, len(rows), "decode"), strict=True):
        facts = clip.facts
        if not facts.is_ok:
            raise InputError(f"video={row.video}: {facts.error}")
        fps, duration, times = facts.file.fps, facts.file.duration, None
        if fps and duration:
            times = frame_times(duration, fps, facts.at[frames].frame_indices)
        elif port.template.says_times:
            raise InputError(f"video={row.video} has no frame rate for the prompt")
        history = row.history if port.template.turn else ()
        words = (row.question, row.answer, row.system, times)
        prompts.append(port.prompt(*words, history=history))
        if reason := excess(prompts[-1], max_text):
            raise InputError(f"video={row.video}: {reason}")
        pixels.append(clip.sample(frames))
    port.check_length(prompts, frames)
    return np.stack(pixels), prompts


def _make_gather(
    port: Port,
    prompts: list[Prompt],
    pixels: np.ndarray,
    codes: tuple[np.ndarray, CodeGrid] | None,
    shuffle: np.random.Generator | None,
) -> Callable[[np.ndarray], TrainBatch]:
    """Return the function that makes the arrays of a step from the numbers of its rows.

    With `shuffle`, each call draws new orders of the frames, so that the order of calls
    matters: `fit` calls in the order of the steps.
    """
    # A model learns to end its turn too; scoring leaves that token out.
    prompts = [p._replace(answer=(*p.answer, port.end_of_turn)) for p in prompts]
    layout = make_layout(prompts, port.video(pixels.shape[1]), SLICES)

    def gather(numbers: np.ndarray) -> TrainBatch:
        frames = pixels[numbers]
        if shuffle is not None:
            frames = _shuffle_frames(frames, shuffle)
        batch = make_batch([prompts[n] for n in numbers], frames, layout)
        answer = batch.masks[:, SLICES.index("response")].astype(np.float32)
        weights = answer / answer.sum(axis=1, keepdims=True)
        if codes is None:
            return TrainBatch(batch, weights)
        # The row at one video position learns the code of the next.
        ids, grid = codes
        visual = visual_codes(frames, grid.side, grid.area)
        next_codes = ids[visual].reshape(len(numbers), -1)[:, 1:]
        batch.targets[:, : next_codes.shape[1]] = next_codes
        weights[:, : next_codes.shape[1]] = 1 / next_codes.shape[1]
        return TrainBatch(batch, weights)

    return gather


def _shuffle_frames(
    pixels: UInt8[np.ndarray, "clip frame height width 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "clip frame height width 3"]:
    """Return the clips with their frames in random orders, drawn clip by clip."""
    clips, frames = pixels.shape[:2]
    order = rng.permuted(np.tile(np.arange(frames), (clips, 1)), axis=1)
    return pixels[np.arange(clips)[:, None], order]


def _copy_small_files(old: Path, new: Path) -> None:
    """Copy all files but the weights; without permissions, which may be read-only."""
    for path in old.rglob("*"):
        is_weights = path.suffix in (".safetensors", ".bin") or path.name.endswith(_INDEX)
        if path.is_file() and not is_weights:
            copy = new / path.relative_to(old)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def _write(port: Port, params: Any, settings: TrainSettings, losses: list[float]) -> None:
    """Write the checkpoint beside its final place, then rename it."""
    with tempfile.TemporaryDirectory(dir=settings.out.parent) as folder:
        new = Path(folder) / "checkpoint"
        _copy_small_files(port.directory, new)
        port.copy_vocabulary(new)
        port.save(new / "model.safetensors", params)
        recipe = asdict(settings.recipe) | {
            "objective": settings.objective,
            "frames": settings.frames,
            "frame_order": settings.frame_order,
            "loss": losses,
        }
        if settings.adapter:
            recipe["adapter"] = str(settings.adapter)
        write_json(new / "training.json", recipe)
        new.rename(settings.out)
