"""`vidsme score` with every port, on MP4 files, against PyTorch on the same files."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image
from tools import here
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
from twins import TWINS, WITH_TORCH, oracle, write

from vidsme_jax.data.manifest import ManifestSettings
from vidsme_jax.data.synthetic.shapes import write_clips
from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port
from vidsme_jax.models.checkpoints.trees import flatten
from vidsme_jax.models.prompts.times import Times
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.training import train as command
from vidsme_jax.training.fit import Recipe
from vidsme_jax.training.train import TrainSettings, train

pytestmark = [pytest.mark.slow(110), pytest.mark.least_compiled]

FRAMES = 3
NAMES = ("longva", "video-bilinear-grid", "next-mistral-window", "onevision-tied")
NAMES += ("video-llava-4", "llama-pool-first", "llama-flat-dynamic")
CHANGES = {"video-bilinear-grid": {"add_time_instruction": True}}
TWIN = {twin.name: twin for twin in TWINS}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    rows = write_clips(folder / "clips", 3, seed=1)
    rows[1] |= {"question": "Which of these?", "candidates": ["red", "blue"]}
    rows[1]["answer"] = "blue"
    (folder / "all.json").write_text(json.dumps(rows))
    return folder, rows


def frames_of(path):
    """Read the sampled frames and their times with nothing of ours."""
    reader = cv2.VideoCapture(str(path))
    fps, frames = reader.get(cv2.CAP_PROP_FPS), []
    while True:
        ok, image = reader.read()
        if not ok:
            break
        frames.append(image[..., ::-1])
    chosen = np.linspace(0, len(frames) - 1, FRAMES, dtype=int)
    times = Times(len(frames) / fps, tuple(float(n / fps) for n in chosen))
    return [frames[n] for n in chosen], times


def pixels_of(frames, twin):
    side = twin.vision["image_size"]
    size = {"height": side, "width": side}
    if twin.vision["model_type"] == "clip_vision_model":
        theirs = CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size=size)
    else:
        theirs = SiglipImageProcessorPil(size=size)
    images = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    return np.asarray(theirs(images=images, return_tensors="np")["pixel_values"])


@WITH_TORCH
@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_pytorch(name, clips, tmp_path):
    """Log-likelihoods of all slices, from the MP4 file to the table."""
    folder, rows = clips
    model, twin = write(name, tmp_path, CHANGES.get(name)), TWIN[name]
    run = ScoreSettings(model, (folder / "all.json",), tmp_path / "run", (FRAMES,), batch=2)
    table = score(run).to_pylist()
    port = open_port(model)
    logits_of = oracle(twin, port, tmp_path / "oracle")
    keep, video = port.vocab_keep, port.video(FRAMES).length
    for got, row in zip(table, rows, strict=True):
        frames, times = frames_of(folder / row["video"])
        question, answer = row["question"], row["answer"]
        if "candidates" in row:
            question, answer = question + "\n(A) red\n(B) blue", "(B) blue"
        prompt = port.prompt(question, answer, times=times)
        text = [*prompt.after, *prompt.answer]
        logits = logits_of(pixels_of(frames, twin), prompt.before, text, video)
        z = logits[:, :keep].astype(np.float64)
        logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
        start = len(prompt.before)
        seen = logp[start : start + video].max(-1).mean()
        spoken = logp[start + video - 1 : -1][np.arange(len(text)), text]
        middle = len(prompt.after)
        assert got["status"] == "ok"
        for column, want in (
            ("video", seen),
            ("instruction", spoken[:middle].mean()),
            ("response", spoken[middle:].mean()),
        ):
            assert got[f"{column}.logp.mean"] == pytest.approx(want, abs=2e-5), column


def test_times_are_those_of_each_clip(clips, tmp_path):
    """Rows of the same shape hold different words: a clip's own seconds."""
    folder, _ = clips
    name = "video-bilinear-grid"
    timed, plain = (
        score(
            ScoreSettings(
                write(name, tmp_path / word, change),
                (folder / "all.json",),
                tmp_path / f"run-{word}",
                (2,),
                slices=("video", "instruction"),
                batch=1,
            )
        ).to_pylist()
        for word, change in (("timed", {"add_time_instruction": True}), ("plain", {}))
    )
    for row, plain_row in zip(timed, plain, strict=True):
        assert row["video.logp.mean"] == pytest.approx(
            plain_row["video.logp.mean"], abs=1e-5
        )
        assert row["instruction.logp.mean"] != plain_row["instruction.logp.mean"]


def test_a_published_prompt_is_noted_and_used(clips, tmp_path):
    folder, _ = clips
    model = write("longva", tmp_path)
    run = tmp_path / "run"
    settings = ScoreSettings(
        model,
        (folder / "all.json",),
        run,
        (2,),
        slices=("instruction",),  # that of the prompt
        published_prompt="cinepile",
        batch=1,
    )
    table = score(settings).to_pylist()
    assert all(row["status"] == "ok" for row in table)
    noted = json.loads((run / "run.json").read_text())
    assert "Carefully watch this video" in json.dumps(noted)


def test_a_port_of_transformers_layout_can_be_trained(clips, tmp_path):
    """The new checkpoint has the keys of the old one, in its own spelling."""
    from safetensors.numpy import load_file

    folder, rows = clips
    model = write("video-llava-4", tmp_path)
    members = tmp_path / "members.json"
    root = folder
    members.write_text(json.dumps([row | {"label": 1} for row in rows]))
    recipe = Recipe(steps=2, batch=2, learning_rate=1e-2)
    out = tmp_path / "trained"
    train(
        TrainSettings(
            model, (members,), out, recipe, frames=2, manifests=ManifestSettings(root)
        )
    )
    old, new = (load_file(d / "model.safetensors") for d in (model, out))
    assert set(old) == set(new)
    key = "language_model.model.layers.0.mlp.up_proj.weight"
    assert not np.array_equal(old[key], new[key])
    still = "image_tower.vision_model.embeddings.class_embedding"
    np.testing.assert_array_equal(old[still], new[still])
    assert flatten(open_port(out).load(np.float32, here))


def test_training_from_a_shared_read_only_checkpoint(clips, tmp_path, monkeypatch):
    """What is copied and where, not what is learned."""
    monkeypatch.setattr(command, "fit", lambda params, *_: (params, np.zeros(1)))
    folder, rows = clips
    model = write("longva", tmp_path)
    for path in (model, *model.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    members = tmp_path / "members.json"
    members.write_text(json.dumps([row | {"label": 1} for row in rows]))
    recipe, out = Recipe(steps=1, batch=1), tmp_path / "new"
    train(
        TrainSettings(
            model, (members,), out, recipe, frames=2, manifests=ManifestSettings(folder)
        )
    )
    assert (out / "tower").stat().st_mode & 0o200 and open_port(out).name == "longva"
    inside = TrainSettings(
        out, (members,), out / "again", recipe, frames=2, manifests=ManifestSettings(folder)
    )
    with pytest.raises(InputError, match="lies in model="):
        train(inside)
    assert not (out / "again").exists()
