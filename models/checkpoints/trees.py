"""Convert nested dicts of parameters to flat dicts with dotted paths, and back."""

from collections.abc import Mapping
from typing import Any

import jax
import ml_dtypes
import numpy as np


def flatten(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves of nested dicts by their dotted path."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {".".join(str(k.key) for k in path): leaf for path, leaf in leaves}


def unflatten(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested dicts of leaves that are keyed by their dotted path."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *folders, name = path.split(".")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = leaf
    return tree


def numpy_dtype(name: str) -> Any:
    """Return the NumPy type of a `--dtype` name."""
    return {"float32": np.float32, "bfloat16": ml_dtypes.bfloat16}[name]
