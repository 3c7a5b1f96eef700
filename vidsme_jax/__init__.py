"""Membership inference for video-understanding LLMs, in JAX and Flax.

Axis names, the same in every annotation: `clip` (clips of a batch), `way` (0 natural,
1 reversed), `frame`, `token` (embeddings of one frame), `time` (positions of a
sequence), `row` (scored positions), `vocab`.

`score`, `evaluate`, `train`, `prepare`, `sweep` and `open_model` do what the commands of
these names do. The other public names are the numerics: pure functions, arrays in, arrays
out. All are imported on first use, so that `import vidsme_jax` and `vidsme --help` load
neither jax nor a device.
"""

from importlib import import_module
from pathlib import Path

__version__ = "0.5.0"

# In a checkout, which Python finds before an installed package when it is started there,
# models/ and data/ lie beside this folder.
_HERE = Path(__file__).parent
if not (_HERE / "models").exists():
    __path__.append(str(_HERE.parent))

_HOME = {
    "score": "api.commands",
    "evaluate": "api.commands",
    "train": "api.commands",
    "prepare": "api.commands",
    "sweep": "api.commands",
    "open_model": "api.commands",
    "Audit": "api.commands",
    "Run": "records.runs",
    "Result": "evaluation.result",
    "renyi": "scores.entropy",
    "sharma_mittal": "scores.entropy",
    "row_statistics": "scores.token_statistics",
    "aggregates": "scores.aggregate",
    "min_k": "scores.aggregate",
    "max_k": "scores.aggregate",
    "masked_mean": "scores.aggregate",
    "Batch": "batch",
    "complete_top_k": "scores.top_k",
    "logits_of_top_k": "scores.top_k",
    "score_batch": "scores.program",
    "score_table": "scores.curves",
    "token_curves": "scores.curves",
    "Definition": "scores.definition",
    "Orders": "scores.definition",
    "ScoreRequest": "scores.definition",
    "score_program": "scores.program",
    "Calibration": "scores.orders",
    "EntropyOrders": "scores.orders",
    "illumination": "data.motion",
    "flow_variance": "data.motion",
    "auc": "stats.metrics",
    "published_metrics": "stats.metrics",
    "epsilon_one_run": "stats.privacy",
    "epsilon_independent": "stats.privacy",
}

__all__ = ["__version__", *sorted(_HOME)]


def __dir__() -> list[str]:
    """List the public names although they are not imported yet."""
    return __all__


def __getattr__(name: str):
    """Import a public function from the module that defines it."""
    if name not in _HOME:
        raise AttributeError(f"module 'vidsme_jax' has no attribute {name!r}")
    return getattr(import_module(f"vidsme_jax.{_HOME[name]}"), name)
