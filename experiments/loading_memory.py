"""Measure how much memory loading a checkpoint of several GB takes beside its parameters.

Writes a LongVA of about two billion random parameters in bfloat16, in shards. Then it loads
the checkpoint in a process of its own and reads that process's peak.

    python experiments/loading_memory.py

prints, per type of the parameters, their bytes, the largest shard, the peak of the resident
memory, and the rest beside parameters and largest shard. The rest must stay under one GiB.
Most of the time goes into transposing.

Found: nothing remains beside the parameters and one shard (rest -0.4 and -0.7 GiB).
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
from lab import publish

SIZES = {
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_attention_heads": 16,
    "num_hidden_layers": 24,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
}
_SHARD = 10**9  # bytes


def write(folder: Path) -> None:
    """Write the checkpoint, shard by shard."""
    from safetensors.numpy import save_file

    from vidsme_jax.models import open_port
    from vidsme_jax.models.checkpoints.trees import flatten
    from vidsme_jax.models.toy import write_toy

    write_toy(folder, ["What moves?"] * 8, seed=0)
    config = json.loads((folder / "config.json").read_text()) | SIZES
    config["mm_vision_tower"] = "openai/clip-vit-large-patch14-336"
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").unlink()
    port, rng, weights = open_port(folder), np.random.default_rng(0), {}
    leaves, shard, size, number = flatten(port.abstract), {}, 0, 0

    def flush():
        nonlocal shard, size, number
        name = f"model-{number:05d}.safetensors"
        save_file(shard, folder / name)
        weights.update(dict.fromkeys(shard, name))
        shard, size, number = {}, 0, number + 1

    for rule in port.rules:
        shape = leaves[rule.path].shape
        tensor_shape = rule.tensor_shape(shape)
        for key in rule.keys(shape):
            bits = rng.integers(0, 2**14, tensor_shape, dtype=np.uint16)  # small and finite
            shard[key] = bits.view(ml_dtypes.bfloat16)
            size += shard[key].nbytes
            if size > _SHARD:
                flush()
    flush()
    index = {"weight_map": weights}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def load(folder: Path, dtype: str) -> None:
    """Load the checkpoint; print seconds and bytes as JSON."""
    import jax

    from vidsme_jax.models import open_port
    from vidsme_jax.models.checkpoints.trees import numpy_dtype

    here = jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])
    start = time.time()
    params = open_port(folder).load(numpy_dtype(dtype), lambda spec, shape: here)
    jax.block_until_ready(params)
    figures = {
        "seconds": round(time.time() - start, 1),
        "parameters": sum(leaf.nbytes for leaf in jax.tree.leaves(params)),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "shard": max(p.stat().st_size for p in folder.glob("*.safetensors")),
    }
    print(json.dumps(figures))


def main() -> None:
    """Write, then load with each type in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.load, options.dtype)
    else:
        publish(__file__, measured())


def measured() -> Iterator[str]:
    """Write the checkpoint, load it once with each type, and yield a line per type."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint"
        write(checkpoint)
        for dtype in ("bfloat16", "float32"):
            line = [sys.executable, __file__, "--load", str(checkpoint), "--dtype", dtype]
            text = subprocess.run(line, check=True, capture_output=True, text=True).stdout
            figures = json.loads(text)
            seconds = figures.pop("seconds")
            rest = figures["peak"] - figures["parameters"] - figures["shard"]
            gib = {name: f"{n / 2**30:.2f} GiB" for name, n in figures.items()}
            yield f"{dtype}: {gib}, rest {rest / 2**30:.2f} GiB, {seconds} s"


if __name__ == "__main__":
    main()
