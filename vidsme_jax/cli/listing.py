"""`vidsme list`: print the catalogue of scores, or the ports and their parity."""

import argparse
import json
import textwrap
from collections.abc import Iterable
from importlib import resources
from typing import Any

from vidsme_jax.scores import catalogue

EXAMPLES = """\
examples:
  vidsme list scores
  vidsme list models
order: list models before --model, list scores before evaluate --score NAME
"""
_WIDTH = 88
_DIFFERENCE = "_diff"
_PUBLISHED_PAGE = "docs/internals/published.md"
_HARD_SPACE = "\u00a0"
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of `vidsme list`."""
    parser.add_argument(
        "what",
        choices=("scores", "models"),
        help="scores: formula, slices, side of the members and source of each; models:"
        " checkpoints of each port, and what is proven of it",
    )


def run(options: argparse.Namespace) -> None:
    """Print the list."""
    print(scores_table() if options.what == "scores" else models_table())


def scores_table() -> str:
    """Return the families, aggregates and slices of scores as text."""
    names = [name for name in catalogue.FAMILY_INFO if not name.endswith(_DIFFERENCE)]
    parts = [
        "A score is named slice.family.aggregate, and is made of one value per position.",
        _titled("Where", catalogue.SYMBOLS),
        "Families",
        *(_family(name) for name in names),
        _differences(),
        _titled("Aggregates", catalogue.AGGREGATE_INFO) + "\n" + _percents(),
        _titled("Slices", catalogue.SLICE_INFO),
        _titled("Definitions (--definition)", catalogue.DEFINITION_INFO),
        _titled(
            f"Names of the published code, low = member ({_PUBLISHED_PAGE})", _published()
        ),
        _summary(),
    ]
    return "\n\n".join(parts)


def _published() -> dict[str, str]:
    """Return the published names in two groups: those without q and r, those with both."""
    from vidsme_jax.scores import published

    plain = [name for name in published.COLUMNS if name not in published.SWEPT]
    return {
        "natural order only": _names(plain),
        "natural - reversed, with q and r": _names(published.SWEPT),
    }


def _names(names: Iterable[str]) -> str:
    """Join names with commas; a name that contains spaces stays on one line."""
    return ", ".join(name.replace(" ", _HARD_SPACE) for name in names)


def _family(name: str) -> str:
    """Return the paragraph of a family of scores."""
    info = catalogue.FAMILY_INFO[name]
    lines = {
        "formula": info.formula,
        "members": _side(name),
        "slices": ", ".join(s for s in catalogue.SLICES if name in catalogue.families(s)),
        "source": info.source,
    }
    return _titled(name, lines)


def _side(name: str) -> str:
    """Return on which side of a family's scores members are expected."""
    return "higher" if catalogue.higher_is_member(name) else "lower"


def _differences() -> str:
    """Return a paragraph for all families X_diff, with the side of each."""
    names = [name for name in catalogue.FAMILY_INFO if name.endswith(_DIFFERENCE)]
    sources = sorted({catalogue.FAMILY_INFO[name].source for name in names})
    lines = {
        "formula": "X, natural - reversed, at the same position",
        **{
            f"members {side}": ", ".join(name for name in names if _side(name) == side)
            for side in ("higher", "lower")
        },
        "slices": ", ".join(
            s for s in catalogue.SLICES if set(names) <= set(catalogue.families(s))
        ),
        "source": ", ".join(sources),
    }
    return _titled(f"X{_DIFFERENCE}, one for each X above that is no sme", lines)


def _percents() -> str:
    """Return the line about K of the aggregates."""
    text = (
        f"K is one of {', '.join(map(str, catalogue.PERCENTS))} (percent),"
        " k = max(1, n K // 100): min_0 is the smallest value alone. No sign is flipped."
    )
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _summary() -> str:
    """Return the lines about the primary score and the number of columns."""
    side = _side(catalogue.PRIMARY)
    return (
        f"Primary score, fixed in advance: {catalogue.PRIMARY} (members {side})\n"
        f"Columns of a run with all slices: {len(catalogue.columns())}"
    )


def _titled(title: str, lines: dict[str, str]) -> str:
    """Return a title, and names and texts in two columns below."""
    gap = max(map(len, lines)) + 4
    wrapped = [
        textwrap.fill(
            text,
            _WIDTH,
            initial_indent=f"  {name}".ljust(gap),
            subsequent_indent=" " * gap,
            break_on_hyphens=False,
        ).replace(_HARD_SPACE, " ")
        for name, text in lines.items()
    ]
    return "\n".join([title, *wrapped])


def models_table() -> str:
    """Return the ports as text, a paragraph each."""
    from vidsme_jax.models.ports import PORTS

    record = read_record()
    lines = [_port(port, record) for port in PORTS]
    note = (
        "Measured by tests/models/ports, on random weights. No released weights were run."
    )
    return "\n".join([*lines, note])


def read_record() -> dict[str, Any]:
    """Return the parity tests' measurements, which are installed with the package."""
    path = resources.files("vidsme_jax.models") / "parity.json"
    return json.loads(path.read_text())


def _port(port: Any, record: dict[str, Any]) -> str:
    """Return the paragraph of a port."""
    cases = [case for case in record["cases"].values() if case["port"] == port.name]
    layouts = {case["layout"] for case in cases}
    sizes = [
        f"{name}: {size['used']:,} parameters used, {size['ignored']:,} not needed"
        for name, size in sorted(record["sizes"].items())
        if size["port"] == port.name
    ]
    return _PORT.format(
        name=port.name,
        checkpoints=port.checkpoints,
        architecture=port.architecture,
        layouts=", ".join(text for name, text in _LAYOUTS.items() if name in layouts),
        parity=_parity(cases),
        sizes=textwrap.indent("\n".join(sizes), " " * 15).lstrip(),
    )


def _parity(cases: list[dict[str, Any]]) -> str:
    """Return the largest differences to PyTorch over the cases of a port."""
    if not cases:
        return "not measured"
    worst = {name: max(case[name] for case in cases) for name in ("logits", "kl")}
    return _PARITY.format(cases=len(cases), **worst)
