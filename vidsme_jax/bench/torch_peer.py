"""Run PyTorch beside us: the same checkpoint and clips through transformers' own classes.

    as_called   each direction through the whole model, its head at every position
    at_best     vision once, directions as one batch, the head on scored rows, in chunks
    published   as the published code: each direction whole, then row by row in float64

The only file that imports torch; `vidsme bench` alone imports it. LongVA's layout only.
"""

import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch.nn.functional import avg_pool2d, gelu, linear
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from vidsme_jax.batch import Batch
from vidsme_jax.bench.torch_statistics import row_loop, statistics
from vidsme_jax.scores.program import Orders

CHUNKS = (16, 64, 256)  # rows of logits at a time that `at_best` may choose among
_TOWER = "model.vision_tower.vision_tower.vision_model."
_PROJECTOR = "model.mm_projector."
_COPIED = (
    "hidden_size intermediate_size num_hidden_layers num_attention_heads"
    " num_key_value_heads vocab_size rms_norm_eps hidden_act tie_word_embeddings"
).split()

Scores = list[list[dict[str, np.ndarray]]]  # by clip and way, values of scored rows


@dataclass(frozen=True)
class TorchModel:
    """A checkpoint in PyTorch.

    Attributes:
        tower: the vision tower with all its layers, as it is called.
        short: the tower with the same weights, up to the layer whose output is used.
        layer: index of that layer's output among the hidden states of `tower`.
        projector: weight and bias of the first layer, then of the second.
        lm: the language model.
        stride: stride of the pooling, in patches.
        mean: mean of pixel values in 0 to 1, per channel.
        std: standard deviation of pixel values in 0 to 1, per channel.
    """

    tower: Any
    short: Any
    layer: int
    projector: tuple[Any, ...]
    lm: Any
    stride: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def device(self) -> Any:
        """Return the device of the weights."""
        return self.projector[0].device


def device_name() -> str:
    """Return the kind of device that PyTorch finds: cuda or cpu."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def threads() -> int:
    """Return how many threads an operation of PyTorch takes on a CPU."""
    return torch.get_num_threads()


def peak_bytes() -> int | None:
    """Return the most memory that PyTorch held; None on a CPU, where it does not count."""
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None


def load_model(directory: Path, dtype: str, mean, std) -> TorchModel:
    """Read the checkpoint that ours reads, in the same type, with attention by SDPA."""
    fields, vision = (
        json.loads((directory / name).read_text())
        for name in ("config.json", "vision_tower/config.json")
    )
    weights: dict[str, Any] = {}
    for path in sorted(directory.glob("*.safetensors")):
        tensors = load_file(path)
        for name, tensor in tensors.items():
            weights[name] = tensor.to(device_name(), getattr(torch, dtype))
    layer, layers = fields["mm_vision_select_layer"], vision["num_hidden_layers"]
    names = [f"{_PROJECTOR}{n}.{kind}" for n in (0, 2) for kind in ("weight", "bias")]
    return TorchModel(
        _make_tower(vision, layers, weights),
        _make_tower(vision, layers + 1 + layer, weights),
        layer,
        tuple(weights[name] for name in names),
        _make_decoder(fields, weights),
        fields["mm_spatial_pool_stride"],
        mean,
        std,
    )


def _make_tower(fields: dict[str, Any], layers: int, weights: dict[str, Any]):
    """Return the vision tower with some of its layers."""
    changed = {k: v for k, v in fields.items() if k != "model_type"}
    changed |= {"num_hidden_layers": layers, "attn_implementation": "sdpa"}
    with torch.device("meta"):  # no weights are drawn, since all are replaced
        model = CLIPVisionModel(CLIPVisionConfig(**changed)).eval()
    by_name = {k.removeprefix(_TOWER): v for k, v in weights.items()}
    needed = model.state_dict()
    state = {k: by_name[k.removeprefix("vision_model.")] for k in needed}
    model.load_state_dict(state, assign=True)
    for module in model.modules():
        if hasattr(module, "position_ids"):
            ids = torch.arange(module.num_positions, device=device_name())
            module.position_ids = ids[None]
    return model


def _make_decoder(fields: dict[str, Any], weights: dict[str, Any]):
    """Return the language model."""
    copied = {name: fields[name] for name in _COPIED}
    rope = {"rope_type": "default", "rope_theta": fields["rope_theta"]}
    copied |= {"rope_parameters": rope, "attn_implementation": "sdpa"}
    config = Qwen2Config(**copied)
    with torch.device("meta"):
        model = Qwen2ForCausalLM(config).eval()
    model.load_state_dict({k: weights[k] for k in model.state_dict()}, assign=True)
    rotary = type(model.model.rotary_emb)(config)  # no file holds its angles
    model.model.rotary_emb = rotary.to(device_name())
    return model


def _embed_frames(model: TorchModel, pixels: np.ndarray, whole: bool):
    """Return the embeddings of uint8 frames, [frame token width]."""
    dtype = model.projector[0].dtype
    x = torch.tensor(pixels, device=model.device).permute(0, 3, 1, 2).float() / 255
    mean, std = (
        torch.tensor(v, device=model.device)[:, None, None] for v in (model.mean, model.std)
    )
    x = ((x - mean) / std).to(dtype)
    if whole:
        x = model.tower(x, output_hidden_states=True).hidden_states[model.layer]
    else:
        x = model.short(x).last_hidden_state
    w1, b1, w2, b2 = model.projector
    x = linear(gelu(linear(x[:, 1:], w1, b1)), w2, b2)
    side = math.isqrt(x.shape[1])
    x = x.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    return avg_pool2d(x, model.stride).flatten(2).transpose(1, 2)


def _splice(model: TorchModel, frames, tokens: np.ndarray, start: int):
    """Return the embeddings of a text with those of a video in its gap, [time width]."""
    x = model.lm.get_input_embeddings()(torch.tensor(tokens, device=model.device))
    video = frames.flatten(0, 1)
    return torch.cat([x[:start], video, x[start + len(video) :]])


@dataclass(frozen=True)
class _Clip:
    """A clip of a batch, without its padding.

    Attributes:
        pixels: frames as uint8 [frame height width 3].
        order: numbers of the frames in their other order [frame].
        tokens: token ids, with a gap where the video goes [time].
        start: position of the first video embedding.
        rows: positions that are scored [row].
        targets: token of each scored row; below 0 the row's own argmax [row].
        video: number of scored rows of the video, which come first.
        q: Sharma-Mittal order.
        r: Sharma-Mittal degree.
    """

    pixels: Any
    order: Any
    tokens: Any
    start: int
    rows: Any
    targets: Any
    video: int
    q: float
    r: float


def _clips(model: TorchModel, batch: Batch, orders: Orders) -> Iterator[_Clip]:
    """Yield the clips of a batch, with rows and targets on the device."""
    for n in range(len(batch.pixels)):
        scored = np.any(batch.masks[n], axis=0)
        rows, targets = (
            torch.tensor(np.asarray(x[n])[scored], device=model.device, dtype=torch.int64)
            for x in (batch.rows, batch.targets)
        )
        end = int(batch.rows[n][scored].max()) + 2  # the last row's target included
        yield _Clip(
            batch.pixels[n],
            batch.order[n],
            batch.tokens[n][:end],
            int(np.argmax(batch.source[n] >= 0)),
            rows,
            targets,
            int(np.sum(batch.masks[n][0])),
            1 + float(orders.q_less_one[n, 0]),
            1 + float(orders.r_less_one[n, 0]),
        )


def _whole_logits(model: TorchModel, clip: _Clip, way: int):
    """Return the logits of every position of one direction, through the whole model."""
    pixels = clip.pixels[clip.order] if way else clip.pixels
    frames = _embed_frames(model, pixels, whole=True)
    x = _splice(model, frames, clip.tokens, clip.start)
    return model.lm(inputs_embeds=x[None]).logits[0]


@torch.inference_mode()
def as_called(model: TorchModel, batch: Batch, orders: Orders) -> Scores:
    """Score clip by clip and direction by direction, as the classes are called."""
    out: Scores = []
    for clip in _clips(model, batch, orders):
        both = []
        for way in (0, 1):
            z = _whole_logits(model, clip, way)[clip.rows].float()
            both.append(_on_host(statistics(z, clip.targets, clip.q, clip.r)))
        out.append(both)
    return out


@torch.inference_mode()
def at_best(
    model: TorchModel, batch: Batch, orders: Orders, at_once: int, chunk: int, ways: int = 2
) -> Scores:
    """Score as fast as PyTorch can, without needless work.

    Args:
        model: the checkpoint.
        batch: host arrays.
        orders: entropy orders of its clips.
        at_once: clips in a call of the decoder.
        chunk: rows whose logits are in memory at a time.
        ways: 2 directions, or 1 for the natural one alone.
    """
    clips, out = list(_clips(model, batch, orders)), []
    for first in range(0, len(clips), at_once):
        group = clips[first : first + at_once]
        hidden = _hidden(model, group, ways)
        for n, clip in enumerate(group):
            settings = (clip.targets, (clip.q, clip.r), chunk)
            of_ways = hidden[n * ways : (n + 1) * ways]
            out.append([_score_rows(model, h[clip.rows], *settings) for h in of_ways])
    return out


def _hidden(model: TorchModel, group: list[_Clip], ways: int):
    """Return hidden states [(clip way) time width], with padding after all rows."""
    frames = _embed_frames(model, np.concatenate([c.pixels for c in group]), whole=False)
    frames = frames.unflatten(0, (len(group), -1))
    texts = []
    for clip, natural in zip(group, frames, strict=True):
        other = natural[torch.tensor(clip.order.copy(), device=model.device)]
        for shown in (natural, other)[:ways]:
            texts.append(_splice(model, shown, clip.tokens, clip.start))
    x = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    return model.lm.model(inputs_embeds=x, use_cache=False).last_hidden_state


def _score_rows(
    model: TorchModel, hidden, targets, orders: tuple[float, float], chunk: int
) -> dict[str, np.ndarray]:
    """Return the statistics of rows of hidden states, a chunk of logits at a time."""
    pieces = [
        statistics(model.lm.lm_head(h).float(), y, *orders)
        for h, y in zip(hidden.split(chunk), targets.split(chunk), strict=True)
    ]
    return _on_host({name: torch.cat([p[name] for p in pieces]) for name in pieces[0]})


def _on_host(values: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return tensors as arrays of the host."""
    return {name: value.cpu().numpy() for name, value in values.items()}


@torch.inference_mode()
def best_chunk(model: TorchModel, rows: int) -> int:
    """Return which of `CHUNKS` takes the least time for some rows on this machine."""
    width = model.projector[2].shape[0]
    hidden = torch.randn(min(rows, 2 * CHUNKS[-1]), width, device=model.device)
    hidden = hidden.to(model.projector[0].dtype)
    targets = torch.full((len(hidden),), -1, device=model.device)

    def once(chunk: int) -> float:
        return seconds(lambda: _score_rows(model, hidden, targets, (1.5, 1.05), chunk))

    for chunk in CHUNKS:
        once(chunk)
    return min(CHUNKS, key=once)


@torch.inference_mode()
def published(model: TorchModel, batch: Batch, orders: Orders) -> Scores:
    """Score as the published code does: the video's rows alone, one after another."""
    out: Scores = []
    for clip in _clips(model, batch, orders):
        rows, both = clip.rows[: clip.video], []
        for way in (0, 1):
            z = _whole_logits(model, clip, way)[rows].float()
            # All rows' probabilities, on the host, for the ids of their likeliest tokens.
            ids = torch.softmax(z, dim=-1).cpu().argmax(dim=-1).tolist()
            both.append(row_loop(z, ids, clip.q, clip.r, baselines=way == 0))
        out.append(both)
    return out


@torch.inference_mode()
def generate(model: TorchModel, batch: Batch, orders: Orders, tokens: int) -> list[int]:
    """Return the tokens that follow the first clip's prompt, decoded greedily."""
    clip = next(_clips(model, batch, orders))
    frames = _embed_frames(model, clip.pixels, whole=True)
    x = _splice(model, frames, clip.tokens, clip.start)[None]
    answers = model.lm.generate(
        inputs_embeds=x,
        attention_mask=torch.ones(x.shape[:2], dtype=torch.int64, device=model.device),
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        do_sample=False,
    )
    return answers[0].tolist()


@torch.inference_mode()
def product(rows: int, inner: int, outer: int, dtype: str) -> Callable[[], Any]:
    """Return a call that does one matrix product [rows inner] x [inner outer]."""
    kind = getattr(torch, dtype)
    a = torch.randn(rows, inner, device=device_name()).to(kind)
    b = torch.randn(outer, inner, device=device_name()).to(kind)  # as a layer holds it
    return lambda: linear(a, b)


@torch.inference_mode()
def time_statistics(z: np.ndarray, q: float, r: float, looped: int) -> tuple[float, float]:
    """Return the seconds of a row: vectorised over all rows, and by the published loop.

    Args:
        z: logits [row vocab], float32.
        q: Sharma-Mittal order.
        r: Sharma-Mittal degree.
        looped: number of rows that the loop runs over, as for the natural direction.
    """
    logits = torch.tensor(z, device=device_name())
    target = torch.full((len(z),), -1, device=device_name())
    ids, few = z[:looped].argmax(axis=-1).tolist(), logits[:looped]
    at_once = [
        lambda n=n: [
            statistics(chunk, y, q, r)
            for chunk, y in zip(logits.split(n), target.split(n), strict=True)
        ]
        for n in CHUNKS
    ]
    loop = lambda: row_loop(few, ids, q, r, baselines=True)  # noqa: E731
    for call in (*at_once, loop):
        call()
    best = min(seconds(call) for call in at_once for _ in range(2))
    return best / len(z), min(seconds(loop) for _ in range(2)) / looped


def seconds(call: Callable[[], Any]) -> float:
    """Return how long a call takes, the device's work included."""
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start
