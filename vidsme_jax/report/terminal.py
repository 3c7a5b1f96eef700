"""The table of an evaluation as text for a terminal."""

from typing import Any

from vidsme_jax.evaluation import diagnosis
from vidsme_jax.report.words import answers


def terminal_table(result: dict[str, Any]) -> str:
    """Return the answer and the representative scores as aligned text."""
    lines = []
    for unit in answers.units(result):
        for answer in answers.answers(unit, result):
            lines += [answer.title] if answer.title else []
            lines += [f"WARNING: {answer.warning}"] if answer.warning else []
            lines += [answer.lead, *(f"- {note}" for note in answer.notes)]
        lead, texts = diagnosis.summary(unit.data["diagnosis"])
        lines += [lead, *(f"- {text}" for text in texts), ""]
        if answers.has_both(unit.data):
            lines += [*_aligned(_rows(unit, result)), ""]
    return "\n".join([*lines, answers.CAVEAT])


def _rows(unit: answers.Unit, result) -> list[list[str]]:
    """The representative scores, motion and illumination, as cells."""
    known, numbers = unit.data["scores"], unit.data["numbers"]
    rows = [_short_header(result)]
    for names in answers.representative_rows(unit).values():
        rows += [answers.cells(n, known[n], result, digits=2) for n in names]
    shown = [name for name in ("motion", "illumination") if name in numbers]
    return rows + [answers.cells(f"{n} alone", numbers[n], result, digits=2) for n in shown]


def _short_header(result) -> list[str]:
    """The header of the report's tables, without what makes it wide."""
    return [_short(name) for name in answers.header(result)]


def _short(name: str) -> str:
    if name in answers.PUBLISHED_HEADER:
        return name
    short = {"AUC minus control": "difference", "balanced accuracy": "bal. acc."}
    name = name.split(" (")[0].removesuffix(" FPR")
    return short.get(name, name.replace(" at ", "@").replace(" %", "%"))


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
