"""The vision tower of an original checkpoint: known by its folder, its name or its shapes.

Configs of this layout name the tower that training began with, often by a path on another
machine. The checkpoint holds the tower's weights, whose shapes say most of its sizes. What
they cannot say is in the config.json of the tower's folder, or follows from its name.
"""

import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open

from vidsme_jax import reading
from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import Fields, read_config
from vidsme_jax.models.checkpoints.loading import weight_files
from vidsme_jax.models.layers.vision_tower import VisionConfig
from vidsme_jax.models.ports.sizes import TOWERS, read_vision, stop_early
from vidsme_jax.models.processor import HALF, Processor, read_processor

TOWER_PREFIX = "model.vision_tower.vision_tower.vision_model."
# OpenAI's CLIP, Google's SigLIP and its SigLIP 2 of fixed resolution, by the last part of
# their names on the hub.
_NAME = re.compile(
    r"(clip-vit|siglip2?)-(base|large|so400m|giant-opt)-patch(\d+)(?:-(\d+))?"
    r"(?:-multilingual|-i18n)?"
)
_SIZES = {  # width, layers, heads and width of the MLP
    "base": (768, 12, 12, 3072),
    "large": (1024, 24, 16, 4096),
    "so400m": (1152, 27, 16, 4304),
    "giant-opt": (1536, 40, 16, 6144),
}
# No other public tower has their shapes, so that these alone say which it is. The shapes
# of CLIP at 224 pixels also belong to towers of other activations and pixels.
_UNIQUE = ("clip-vit-large-patch14-336", "siglip-so400m-patch14-384")
# No head of a tower is run, so that none can be tied.
_IGNORED = frozenset("tie_word_embeddings vocab_size".split())


class _Shapes(NamedTuple):
    """What the shapes of a tower's tensors say of it."""

    clip: bool
    width: int
    patch: int
    mlp_width: int
    grid: int
    layers: int


def read_tower(directory: Path, fields: Fields) -> VisionConfig:
    """Read the sizes of the tower, stopped at the layer whose features are taken.

    Args:
        directory: the checkpoint.
        fields: fields of its config.

    Raises:
        InputError: neither folder, nor name, nor shapes tell what the tower is.
    """
    name = fields.get("mm_vision_tower", str)
    fields.expect("mm_vision_select_feature", ("patch",), "patch")
    fields.expect("s2", (False, None))
    layer = fields.get("mm_vision_select_layer", int, -2)
    if folder := tower_folder(directory, name):
        vision = _read_tower_config(folder / "config.json", fields)
    else:
        vision = _known_tower(directory, name, f"{fields.where}: mm_vision_tower={name!r}")
    if not vision.clip:
        # This class deletes SigLIP's last layer and takes the output of the layer before.
        vision = replace(vision, layers_total=vision.layers_total - 1)
        layer = -1
    return stop_early(vision, layer, f"{fields.where}: mm_vision_select_layer")


def read_tower_processor(directory: Path, name: str, vision: VisionConfig) -> Processor:
    """Read the processor of a tower's folder, or make the one that its family has.

    LLaVA-NeXT's code resizes frames for SigLIP and SigLIP 2 alike, by bicubic
    interpolation, where the hub's files of SigLIP 2 say bilinear.
    """
    if folder := tower_folder(directory, name):
        return read_processor(folder / "preprocessor_config.json")
    side = vision.image
    return Processor(side, side) if vision.clip else Processor(None, side, HALF, HALF)


def tower_folder(directory: Path, name: str) -> Path | None:
    """Return the folder with the tower's config.json: in the checkpoint, or by its path.

    Args:
        directory: the checkpoint.
        name: the value of mm_vision_tower: a folder of the checkpoint, a path on this
            machine, or one on another, whose last part may be a folder of the checkpoint.
    """
    path = Path(os.path.normpath(name))
    inside = not path.is_absolute() and path.parts[:1] not in ((), ("..",))
    folders = [directory / path] if inside else []
    folders += [path] if path.is_absolute() else []
    folders += [directory / path.name] if path.name not in ("", "..") else []
    for folder in folders:
        try:
            if (folder / "config.json").is_file() and folder != directory:
                if folder != path:
                    reading.check_inside(folder / "config.json", directory)
                return folder
        except (OSError, ValueError):  # a name too long, or with a zero byte
            pass
    return None


def _read_tower_config(path: Path, fields: Fields) -> VisionConfig:
    """Read the sizes of a tower from its own config.json, or from both towers' config."""
    values = read_config(path)
    inner = values.get("vision_config")
    if values.get("model_type") in ("clip", "siglip") and isinstance(inner, dict):
        values = {"model_type": f"{values['model_type']}_vision_model"} | inner
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in TOWERS:
        raise InputError(f"{path}: model_type={kind!r}, expected one of {list(TOWERS)}")
    return read_vision(fields.part(values, str(path), _IGNORED, TOWERS[kind]), kind)


def _known_tower(directory: Path, name: str, where: str) -> VisionConfig:
    """Return the public tower that weights are of, first of all the one that a name means.

    Without weights the name decides. If they are of neither, so that the check of the
    weights can say what differs.
    """
    by_name, shapes = _by_name(name), _read_shapes(directory)
    vision = by_name
    if shapes:
        candidates = [by_name and _with_grid(by_name, shapes.grid)]
        candidates += map(_by_name, _UNIQUE)
        vision = next((v for v in candidates if v and _fits(v, shapes)), by_name)
    if vision:
        return vision
    said = f" with weights of {shapes}" if shapes else ""
    raise InputError(
        f"{where}{said}, expected a CLIP or SigLIP tower by its name on the hub, such as"
        f" {', '.join(_UNIQUE)}, or a folder inside the checkpoint with the tower's"
        " config.json and preprocessor_config.json"
    )


def _by_name(name: str) -> VisionConfig | None:
    """Return the sizes of a well-known tower.

    Args:
        name: a name on the hub, a path of a copy, or one in the hub's cache, such as
            hub/models--openai--clip-vit-large-patch14-336/snapshots/HASH.
    """
    parts = [part.split("--")[-1] for part in Path(os.path.normpath(name)).parts]
    matches = [match for part in parts if (match := _NAME.fullmatch(part))]
    if not matches:
        return None
    family, size, patch, image = matches[-1].groups()
    clip = family == "clip-vit"
    if not (image or clip) or (clip and size not in ("base", "large")):
        return None
    width, layers, heads, mlp_width = _SIZES[size]
    return VisionConfig(
        image=int(image or 224),
        patch=int(patch),
        width=width,
        layers=layers,
        layers_total=layers,
        heads=heads,
        mlp_width=mlp_width,
        norm_eps=1e-5 if clip else 1e-6,
        activation="quick_gelu" if clip else "gelu_pytorch_tanh",
        clip=clip,
    )


def _with_grid(vision: VisionConfig, grid: int) -> VisionConfig:
    """Return a tower that was given another number of patches along a side."""
    same = vision.image // vision.patch == grid
    return vision if same else replace(vision, image=grid * vision.patch)


def _fits(vision: VisionConfig, shapes: _Shapes) -> bool:
    """Return whether weights are those of a tower; the last layer may be left out."""
    sizes = (vision.clip, vision.width, vision.patch, vision.mlp_width, vision.grid)
    return sizes == shapes[:5] and vision.layers - 1 <= shapes.layers <= vision.layers


def _read_shapes(directory: Path) -> _Shapes | None:
    """Read the shapes of a tower's tensors; None where there are no such weights here."""
    shapes: dict[str, list[int]] = {}
    try:
        for path in weight_files(directory):
            with safe_open(path, framework="numpy") as file:
                for key in file.keys():  # noqa: SIM118
                    if TOWER_PREFIX in key:
                        short = key.split(TOWER_PREFIX)[1]
                        shapes[short] = file.get_slice(key).get_shape()
    except (InputError, OSError, SafetensorError):
        return None  # the check of the weights says what is wrong with them
    try:
        width, _, patch, _ = shapes["embeddings.patch_embedding.weight"]
        clip = "embeddings.class_embedding" in shapes
        positions = shapes["embeddings.position_embedding.weight"][0] - clip
        mlp_width = shapes["encoder.layers.0.mlp.fc1.weight"][0]
    except (KeyError, ValueError, IndexError):
        return None
    layers = [re.match(r"encoder\.layers\.(\d+)\.", key) for key in shapes]
    count = 1 + max(int(match.group(1)) for match in layers if match)
    return _Shapes(clip, width, patch, mlp_width, math.isqrt(positions), count)
