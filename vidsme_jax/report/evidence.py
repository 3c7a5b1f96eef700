"""What stands beside the scores: verdicts, blind baselines, parts, controls."""

from typing import Any

from vidsme_jax import errors
from vidsme_jax.report.page import Section, Table
from vidsme_jax.report.words import answers, formatting
from vidsme_jax.report.words.answers import Unit, titled
from vidsme_jax.report.words.blind import blind_cells, blind_header
from vidsme_jax.report.words.verdicts import threshold_rows


def verdict_sections(units: list[Unit]) -> list[Section]:
    """Return the thresholds that hold a false positive rate, where clips were judged."""
    tables = []
    for unit in units:
        verdict = unit.data["verdict"]
        if verdict is not None and not verdict["reason"]:
            header, rows = threshold_rows(verdict)
            tables.append(Table(header, rows, titled(verdict["score"], unit)))
    note = (
        "Thresholds on the primary score. The first holds its rate on average over"
        " reference sets; the second for this very one, with the confidence of the"
        " intervals, and so needs a larger one. Clips of one video count as one. clips.csv"
        " has the p-value of each clip, and the one corrected for their number."
    )
    return [Section("Calling members", (), (note,), tuple(tables))] if tables else []


def evidence_sections(units: list[Unit], result: dict[str, Any]) -> list[Section]:
    """Return what the clips show without the model, in their parts, and in comparison."""
    sections = [
        _blind(units, result),
        _subsets(units, result),
        _control(units, result),
        _versus(units, result),
    ]
    return [section for section in sections if section.tables]


def _blind(units, result) -> Section:
    tables = [
        Table(
            blind_header(result["settings"]),
            [blind_cells(name, found) for name, found in blind["found"].items()],
            titled(f"{kind}; {blind['rows']} rows", unit),
        )
        for unit in units
        for kind, blind in _baselines(unit.data)
        if blind["found"]
    ]
    alone = result | {"control": None}
    rows = [
        answers.cells(titled(name, unit), found, alone)
        for unit in units
        for name, found in unit.data["numbers"].items()
        if found["auc"] is not None
    ]
    if rows:
        tables.append(Table(answers.header(alone, "number"), rows, "Single numbers"))
    note = (
        "Nothing here asks the model what it predicts. Each baseline is a classifier"
        " (kernel ridge regression) that is fitted on some videos and tried on others; its"
        " p-value comes from permuted labels, corrected for the number of baselines. Where"
        " one is as good as a score, the score may only follow how the two sets differ. The"
        " vision tower is the audited model's, and was perhaps trained on the members."
        " A single number's AUC far from 0.5 on either side says the same; those intervals"
        " are not corrected for how many numbers there are."
    )
    return Section("Without asking the model", paragraphs=(note,), tables=tuple(tables))


def _baselines(data):
    yield "Members against non-members", data["baselines"]
    verdict = data["verdict"]
    if verdict is not None and not verdict["reason"]:
        yield "Judged clips against the reference", verdict["baselines"]


def _subsets(units, result) -> Section:
    """One table per column, the parts of all units below each other."""
    by_column: dict[str, list[list[str]]] = {}
    for unit in units:
        for column, parts in unit.data["subsets"].items():
            rows = by_column.setdefault(column, [])
            for part, found in parts.items():
                row = [
                    titled(errors.shorten(part, 60), unit),
                    str(found["members"]),
                    str(found["non_members"]),
                    formatting.estimate(found, "auc"),
                ]
                for rate, value in found["tpr"].items():
                    ends = formatting.span(found["tpr_interval"][rate])
                    steps = found["non_members"] * float(rate)
                    known = value is not None and (steps >= 1 or float(rate) == 0)
                    row.append(f"{formatting.number(value)} ({ends})" if known else "–")
                rows.append(row)
    settings = result["settings"]
    around = f"({formatting.percent(settings['confidence'])} interval)"
    header = ["part", "members", "non-members", f"AUC {around}"]
    header += [f"TPR at {formatting.percent(fpr)} FPR {around}" for fpr in settings["fprs"]]
    tables = [
        Table(header, rows, errors.shorten(column, 60))
        for column, rows in by_column.items()
    ]
    note = (
        "The primary score in parts of the clips, members of a part against non-members of"
        " the same part. Intervals are each part's own, not corrected for the number of"
        " parts; a TPR is left out where the part has too few non-members for its rate."
    )
    return Section("Parts of the clips", paragraphs=(note,), tables=tuple(tables))


def _control(units, result) -> Section:
    rows = []
    for unit in units:
        primary = unit.data["primary"]
        found = unit.data["scores"].get(primary, {}).get("control", {})
        for kind, held in found.get("calibrated", {}).items():
            why = held["reason"] or ""
            name = titled(f"{primary}, {kind}", unit)
            rows.append([name, formatting.estimate(held, "auc"), why])
    around = f"({formatting.percent(result['settings']['confidence'])} interval)"
    note = (
        "Each clip's primary score less the control's, and its ratio to the control's: what"
        " is easy or hard for every model drops out. clips.csv has both for each clip. A"
        " ratio has an order only where the control's values have one sign."
    )
    table = Table(["calibrated score", f"AUC {around}", "why not"], rows)
    return Section("Calibrated by the control", (), (note,), (table,) if rows else ())


def _versus(units, result) -> Section:
    rows = [
        [unit.title, *_versus_cells(unit.data["versus_first"])]
        for unit in units
        if unit.data["versus_first"] is not None
    ]
    around = f"({formatting.percent(result['settings']['confidence'])} interval)"
    header = ["run", "its AUC", "the first's", f"difference {around}", "rows"]
    note = (
        "The primary score of each run and frame count less that of the first, on the clips"
        " that both scored, resampled together."
    )
    table = Table(header, rows)
    return Section("Against the first run", (), (note,), (table,) if rows else ())


def _versus_cells(found) -> list[str]:
    first, own = (formatting.number(value) for value in found["auc"])
    counts = f"{found['members']} members, {found['non_members']} non-members"
    return [own, first, formatting.estimate(found, "difference"), counts]
