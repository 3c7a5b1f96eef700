"""Small real things for tests: clips on disk, a checkpoint, a manifest."""

import atexit
import json
import math
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import av
import jax
import numpy as np
from jax.extend.core import jaxprs_in_params

from vidsme_jax.data.synthetic.shapes import draw_clip, write_clips
from vidsme_jax.models.toy import write_toy

COLLECTIVES = ("all-reduce", "all-gather", "all-to-all", "collective-permute")
COLLECTIVES += ("reduce-scatter", "collective-broadcast")


def numbered(count, height=48, width=64):
    """Frames that say which they are: a bar whose length is the frame's number."""
    frames = np.full((count, height, width, 3), 30, np.uint8)
    for n in range(count):
        frames[n, : height // 2, : 2 + n * (width - 2) // count] = 220
    return frames


def bar(frame):
    """Read the number's bar back: its length in pixels."""
    row = frame[frame.shape[0] // 4].mean(-1)
    return int((row > 125).sum())


def write_av(path, frames, codec, fps=10, format=None, title=None, **options):
    """Encode frames with PyAV."""
    muxing = {k: str(options.pop(k)) for k in ("movflags",) if k in options}
    with av.open(str(path), "w", format=format, options=muxing) as container:
        if title:
            container.metadata["title"] = title
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {k: str(v) for k, v in options.items()}
        for image in frames:
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def make_project(folder, count=12, seed=0, decoder=None):
    """Write clips, a manifest with alternating labels and a toy checkpoint.

    Args:
        folder: to write in.
        count: of the clips.
        seed: of the clips.
        decoder: fields of config.json that change no shape.
    """
    records = write_clips(folder / "clips", count, seed)
    for n, record in enumerate(records):
        record["label"] = n % 2
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(records))
    model = shutil.copytree(_toy(), folder / "model")
    config = json.loads((model / "config.json").read_text()) | (decoder or {})
    (model / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return records, manifest, model


@lru_cache  # drawing its weights compiles for seconds; one vocabulary, one set of programs
def _toy():
    """Write a toy checkpoint, once a process, which removes it when it ends."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    captions = [draw_clip(np.random.default_rng(n), "shapes")[1] for n in range(12)]
    texts = [f"What moves in this video?\n{caption}" for caption in captions]
    return write_toy(Path(folder.name) / "model", texts, seed=0)


def python(folder, *words):
    """Run Python in a folder that is not the checkout, whose models/ would be found."""
    line = [sys.executable, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, cwd=folder)


def matrix_products(jaxpr, times=1):
    """Yield each matrix product of a program, loops included, and how often it runs."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation, times
        again = equation.params.get("length", 1) if equation.primitive.name == "scan" else 1
        for inner in jaxprs_in_params(equation.params):
            yield from matrix_products(inner, times * again)


def operations(jaxpr, loops=True):
    """Return two for each multiplication of the matrix products, loops run or once."""
    found = 0
    for equation, times in matrix_products(jaxpr):
        ((left, _), _), a = equation.params["dimension_numbers"], equation.invars[0].aval
        inner = math.prod(a.shape[axis] for axis in left)
        each = 2 * inner * math.prod(equation.outvars[0].aval.shape)
        found += each * (times if loops else 1)
    return found


def here(*_):
    """Place every parameter on the first device."""
    return jax.sharding.SingleDeviceSharding(jax.devices()[0])


def starts(batch):
    """Return the position of each clip's first video embedding."""
    return (np.asarray(batch.source) >= 0).argmax(axis=1).tolist()


def edit(directory, target, **fields):
    """Copy a checkpoint's small files with some config fields changed."""
    target.mkdir()
    for path in directory.rglob("*.json"):
        copy = target / path.relative_to(directory)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(path.read_bytes())
    config = json.loads((target / "config.json").read_text()) | fields
    config = {k: v for k, v in config.items() if v is not ...}
    (target / "config.json").write_text(json.dumps(config))
    return target
