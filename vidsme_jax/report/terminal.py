"""Write a result as text for a terminal."""

from vidsme_jax.evaluation.result import Result
from vidsme_jax.report.words import answers
from vidsme_jax.report.words.answers import FrameReport
from vidsme_jax.report.words.rates import merged_rates


def terminal_table(result: Result) -> str:
    """Return the answers and the representative scores as aligned text."""
    lines = []
    for report in answers.frame_reports(result):
        for answer in answers.answers(report, result):
            lines += [answer.title] if answer.title else []
            lines += [f"WARNING: {answer.warning}"] if answer.warning else []
            lines += [answer.lead, *(f"- {note}" for note in answer.notes)]
        signatures = answers.signature_answer(report, result.settings)
        lines += [signatures.lead, *(f"- {note}" for note in signatures.notes), ""]
        if answers.has_both(report.frame):
            lines += [*_aligned(_rows(report, result)), ""]
    return "\n".join([*lines, answers.CAVEAT])


def _rows(report: FrameReport, result: Result) -> list[list[str]]:
    """Return the cells of the representative scores, of motion and of illumination."""
    scores, numbers = report.frame.scores, report.frame.numbers
    control = result.control is not None
    shown = {
        name: scores[name]
        for names in answers.representative_rows(report.frame).values()
        for name in names
    }
    for name in ("motion", "illumination"):
        if name in numbers:
            shown[f"{name} alone"] = numbers[name]
    counts = (metrics.counts.non_members for metrics in shown.values())
    rates = merged_rates(result.settings, counts)
    header = answers.header(result.settings, rates, control)
    return [
        [_short(name) for name in header],
        *(answers.cells(name, m, rates, control, digits=2) for name, m in shown.items()),
    ]


def _short(name: str) -> str:
    """Return a short form of a column's name."""
    if name in answers.PUBLISHED_HEADER:
        return name
    short = {"AUC minus control": "difference", "balanced accuracy": "bal. acc."}
    name = name.split(" (")[0].removesuffix(" FPR")
    if name.startswith("TPR at "):
        rates = name.removeprefix("TPR at ").replace(" %", "%")
        return "TPR@" + rates.replace(", ", "/").replace(" and ", "/")
    return short.get(name, name)


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return rows as lines of text, the cells of a column below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
