"""`vidsme models`: the ports, and what is proven of each by the record of the tests."""

import json
import textwrap
from importlib import resources
from typing import Any

from vidsme_jax.models.port import PortSpec
from vidsme_jax.models.ports import PORTS

_LAYOUTS = {
    "original": "original LLaVA",
    "4": "transformers 4 (hub)",
    "4.52": "transformers 4.52 to 4.57 in memory",
    "5": "transformers 5",
}
_PORT = """{name}
  checkpoints  {checkpoints}
  class        {architecture}
  layouts      {layouts}
  parity       {parity}
  sizes        {sizes}
"""
_PARITY = """logits within {logits:.1e} of PyTorch, KL up to {kl:.1e}, float32 on CPU,
               {cases} tiny random twins"""


def read_record() -> dict[str, Any]:
    """Return what the parity tests measured, as installed with the package."""
    path = resources.files("vidsme_jax.models") / "parity.json"
    return json.loads(path.read_text())


def models_table() -> str:
    """Return the ports as text, a paragraph each."""
    record = read_record()
    lines = [_describe(port, record) for port in PORTS]
    note = (
        "Measured by tests/models/ports, on random weights. No released weights were run."
    )
    return "\n".join([*lines, note])


def _describe(port: PortSpec, record: dict[str, Any]) -> str:
    cases = [case for case in record["cases"].values() if case["port"] == port.name]
    used = {case["layout"] for case in cases}
    sizes = [
        f"{name}: {size['used']:,} parameters used, {size['ignored']:,} not needed"
        for name, size in sorted(record["sizes"].items())
        if size["port"] == port.name
    ]
    return _PORT.format(
        name=port.name,
        checkpoints=port.checkpoints,
        architecture=port.architecture,
        layouts=", ".join(text for name, text in _LAYOUTS.items() if name in used),
        parity=_parity(cases),
        sizes=textwrap.indent("\n".join(sizes), " " * 15).lstrip(),
    )


def _parity(cases: list[dict[str, Any]]) -> str:
    if not cases:
        return "not measured"
    worst = {name: max(case[name] for case in cases) for name in ("logits", "kl")}
    return _PARITY.format(cases=len(cases), **worst)
