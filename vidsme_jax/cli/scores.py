"""`vidsme scores`: the catalogue of scores, as text."""

import textwrap
from collections.abc import Iterable

from vidsme_jax.scores import catalogue, published
from vidsme_jax.scores.aggregate import PERCENTS

_WIDTH = 88
_DIFFERENCE = "_diff"
_HARD_SPACE = "\u00a0"


def scores_table() -> str:
    """Return the families, aggregates and slices as text; all of it is `scores.py`."""
    own = [name for name in catalogue.FAMILY_INFO if not name.endswith(_DIFFERENCE)]
    parts = [
        "A score is named slice.family.aggregate, and is made of one value per position.",
        _listed("Where", catalogue.SYMBOLS),
        "Families",
        *(_family(name) for name in own),
        _differences(),
        _listed("Aggregates", catalogue.AGGREGATE_INFO) + "\n" + _percents(),
        _listed("Slices", catalogue.SLICE_INFO),
        _listed("Definitions (--definition)", catalogue.DEFINITION_INFO),
        _listed(
            "Names of the published code, low = member (docs/published.md)", _published()
        ),
        _summary(),
    ]
    return "\n\n".join(parts)


def _published() -> dict[str, str]:
    """Return the published names, those that depend on q and r apart."""
    plain = [name for name in published.COLUMNS if name not in published.SWEPT]
    return {
        "natural order only": _names(plain),
        "natural - reversed, with q and r": _names(published.SWEPT),
    }


def _names(names: Iterable[str]) -> str:
    """Join names that contain spaces; no line breaks inside one."""
    return ", ".join(name.replace(" ", _HARD_SPACE) for name in names)


def _family(name: str) -> str:
    info = catalogue.FAMILY_INFO[name]
    lines = {
        "formula": info.formula,
        "members": _side(name),
        "slices": ", ".join(s for s in catalogue.SLICES if name in catalogue.families(s)),
        "source": info.source,
    }
    return _listed(name, lines)


def _side(name: str) -> str:
    return "higher" if catalogue.higher_is_member(name) else "lower"


def _differences() -> str:
    """The families X_diff in one paragraph: what is true of all, and each one's side."""
    held = [name for name in catalogue.FAMILY_INFO if name.endswith(_DIFFERENCE)]
    kinds = sorted({catalogue.FAMILY_INFO[name].source for name in held})
    lines = {
        "formula": "X, natural - reversed, at the same position",
        **{
            f"members {side}": ", ".join(name for name in held if _side(name) == side)
            for side in ("higher", "lower")
        },
        "slices": ", ".join(
            s for s in catalogue.SLICES if set(held) <= set(catalogue.families(s))
        ),
        "source": ", ".join(kinds),
    }
    return _listed(f"X{_DIFFERENCE}, one for each X above that is no sme", lines)


def _percents() -> str:
    text = (
        f"K is one of {', '.join(map(str, PERCENTS))} (percent), k = max(1, n K // 100):"
        " min_0 is the smallest value alone. No sign is flipped."
    )
    return textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  ")


def _summary() -> str:
    side = _side(catalogue.PRIMARY)
    return (
        f"Primary score, fixed in advance: {catalogue.PRIMARY} (members {side})\n"
        f"Columns of a run with all slices: {len(catalogue.columns())}"
    )


def _listed(title: str, lines: dict[str, str]) -> str:
    """A title and, below it, names and texts in two columns."""
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
