"""Python reads this at its start: transformers finds no PyTorch, and does not import it."""

import importlib.util

_find = importlib.util.find_spec


def _find_spec(name, package=None):
    return None if name == "torch" else _find(name, package)


importlib.util.find_spec = _find_spec
