"""Towers of original checkpoints: by folder, by name, by the shapes of their weights."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from twins import write

from vidsme_jax.errors import InputError
from vidsme_jax.models import open_port, read_graph
from vidsme_jax.models.ports.towers import TOWER_PREFIX
from vidsme_jax.models.processor import HALF, Processor

SNAPSHOT = "/cache/hub/models--openai--clip-vit-large-patch14-336/snapshots/0123456789ab"
CLIP_L = (1024, 4096, 16)


def vision_of(folder, **options):
    return open_port(folder, **options).config.vision


def without_weights(tmp_path, name):
    """Return the sizes that a config alone tells of a tower, by its name."""
    folder = write("longva", tmp_path, {"mm_vision_tower": name})
    (folder / "model.safetensors").unlink()
    vision = read_graph(folder / "config.json").config.vision
    return vision, open_port(folder).processor


@pytest.mark.parametrize(
    ("name", "image", "patch", "sizes", "layers"),
    [
        ("openai/clip-vit-large-patch14-336", 336, 14, CLIP_L, (23, 24)),
        ("./checkpoints/clip-vit-large-patch14-336", 336, 14, CLIP_L, (23, 24)),
        (SNAPSHOT, 336, 14, CLIP_L, (23, 24)),
        ("openai/clip-vit-large-patch14", 224, 14, CLIP_L, (23, 24)),
        ("openai/clip-vit-base-patch32", 224, 32, (768, 3072, 12), (11, 12)),
        ("openai/clip-vit-base-patch16", 224, 16, (768, 3072, 12), (11, 12)),
        ("google/siglip-base-patch16-224", 224, 16, (768, 3072, 12), (11, 11)),
        ("google/siglip-base-patch16-256-multilingual", 256, 16, (768, 3072, 12), (11, 11)),
        ("google/siglip-large-patch16-384", 384, 16, CLIP_L, (23, 23)),
        ("google/siglip-so400m-patch14-384", 384, 14, (1152, 4304, 16), (26, 26)),
        ("google/siglip2-so400m-patch14-384", 384, 14, (1152, 4304, 16), (26, 26)),
        ("google/siglip2-so400m-patch16-512", 512, 16, (1152, 4304, 16), (26, 26)),
        ("google/siglip2-giant-opt-patch16-384", 384, 16, (1536, 6144, 16), (39, 39)),
    ],
)
def test_names_of_public_towers(tmp_path, name, image, patch, sizes, layers):
    vision, processor = without_weights(tmp_path, name)
    assert (vision.image, vision.patch) == (image, patch)
    assert (vision.width, vision.mlp_width, vision.heads) == sizes
    assert (vision.layers, vision.layers_total) == layers
    clip = "clip" in name
    assert vision.clip == clip and vision.norm_eps == (1e-5 if clip else 1e-6)
    assert vision.activation == ("quick_gelu" if clip else "gelu_pytorch_tanh")
    squeezed = Processor(None, image, HALF, HALF)
    assert processor == (Processor(image, image) if clip else squeezed)


@pytest.mark.parametrize(
    "name",
    [
        "google/siglip2-base-patch16-naflex",  # of another class, of any resolution
        "google/siglip-base-patch16",
        "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        "/data/models/my-tower",
        "imagebind_huge",
        "..",
        "",
    ],
)
def test_a_tower_that_nothing_tells_of(tmp_path, name):
    with pytest.raises(InputError, match="or a folder inside the checkpoint with") as e:
        without_weights(tmp_path, name)
    assert "\n" not in str(e.value)


def shapes_of(folder, clip, width, patch, mlp_width, positions, layers):
    """Write weights with the shapes that tell of a tower; no value of theirs is read."""
    tensors = {
        "embeddings.patch_embedding.weight": (width, 3, patch, patch),
        "embeddings.position_embedding.weight": (positions, width),
        "encoder.layers.0.mlp.fc1.weight": (mlp_width, width),
        f"encoder.layers.{layers - 1}.layer_norm1.bias": (width,),
    }
    if clip:
        tensors["embeddings.class_embedding"] = (width,)
    zeros = {TOWER_PREFIX + key: np.zeros(s, np.int8) for key, s in tensors.items()}
    save_file(zeros, folder / "model.safetensors")


CLIP_336 = (True, 1024, 14, 4096, 577, 24)
CLIP_224 = (True, 1024, 14, 4096, 257, 24)
SO400M = (False, 1152, 14, 4304, 729, 26)


@pytest.mark.parametrize(
    ("name", "shapes", "image", "heads"),
    [
        ("/data/models/my-tower", CLIP_336, 336, 16),
        ("/data/models/my-tower", SO400M, 384, 16),
        ("openai/clip-vit-large-patch14", CLIP_336, 336, 16),  # given more positions
        ("openai/clip-vit-large-patch14-336", CLIP_224, 224, 16),
        ("openai/clip-vit-large-patch14-336", SO400M, 384, 16),  # not what it says
        (SNAPSHOT.replace("-336", ""), CLIP_224, 224, 16),
        ("google/siglip2-so400m-patch14-384", SO400M, 384, 16),
        ("google/siglip-base-patch16-224", (False, 768, 16, 3072, 576, 11), 384, 12),
    ],
)
def test_shapes_decide_and_not_a_name(tmp_path, name, shapes, image, heads):
    folder = write("longva", tmp_path, {"mm_vision_tower": name})
    shapes_of(folder, *shapes)
    port = open_port(folder)
    vision = port.config.vision
    clip, width, patch, mlp_width, positions, layers = shapes
    assert (vision.clip, vision.width, vision.patch) == (clip, width, patch)
    assert vision.grid**2 + clip == positions and vision.layers_total == layers
    assert (vision.image, vision.heads) == (image, heads)
    assert vision.mlp_width == mlp_width and port.processor.crop == image


def test_shapes_that_towers_of_other_activations_share(tmp_path):
    """LAION's CLIP of 224 pixels has OpenAI's shapes, and another activation."""
    folder = write("longva", tmp_path, {"mm_vision_tower": "/data/models/my-tower"})
    shapes_of(folder, *CLIP_224)
    with pytest.raises(InputError, match="weights of .*width=1024.* such as clip-vit"):
        open_port(folder)


def test_a_tower_in_a_folder_of_its_own(tmp_path):
    """In the checkpoint, beside it, or named by a path on another machine."""
    plain = open_port(write("longva", tmp_path / "plain"))
    moved = write("longva", tmp_path / "moved", {"mm_vision_tower": "/data/my-tower"})
    (moved / "tower").rename(moved / "my-tower")
    outside = tmp_path / "somewhere" / "my-tower"
    beside = write("longva", tmp_path / "beside", {"mm_vision_tower": str(outside)})
    shutil.copytree(moved / "my-tower", outside)
    shutil.rmtree(beside / "tower")
    for folder in (moved, beside):
        port = open_port(folder)
        assert port.config == plain.config and port.processor == plain.processor
        port.check_weights()
    before = port.fingerprint()
    path = outside / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"hidden_act": "gelu"}))
    assert open_port(beside).config.vision.activation == "gelu"
    assert open_port(beside).fingerprint() != before


def test_a_folder_with_the_config_of_both_towers(tmp_path):
    """As a download of the whole CLIP has it."""
    folder = write("longva", tmp_path)
    want, path = vision_of(folder), folder / "tower" / "config.json"
    inner = json.loads(path.read_text())
    inner.pop("model_type")
    both = {"model_type": "clip", "vision_config": inner, "text_config": {}}
    path.write_text(json.dumps(both))
    assert vision_of(folder) == want
    path.write_text(json.dumps(both | {"model_type": "siglip2"}))
    with pytest.raises(InputError, match="model_type='siglip2', expected one of"):
        open_port(folder)


def test_a_folder_says_how_frames_are_resized(tmp_path):
    folder = write("longva", tmp_path)
    path = folder / "tower" / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"resample": 2}))
    assert open_port(folder).processor.resample == "bilinear"
    path.unlink()
    with pytest.raises(InputError, match="tower/preprocessor_config.json does not exist"):
        open_port(folder)


def test_weights_that_are_not_those_of_the_named_tower(tmp_path):
    """The check of the weights says which shapes differ."""
    name = "openai/clip-vit-large-patch14-336"
    port = open_port(write("longva", tmp_path, {"mm_vision_tower": name}))
    assert load_file(port.directory / "model.safetensors")
    with pytest.raises(InputError, match="patch_embedding.weight has shape"):
        port.check_weights()
