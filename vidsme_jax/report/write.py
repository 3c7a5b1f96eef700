"""The page a person reads, and the same as Markdown, JSON, CSV and SVG files.

Every text that comes from data is escaped: by jinja2 in the page, by `_md` in Markdown,
by `figures` in SVG.
"""

import csv
import math
import re
from html import escape
from pathlib import Path
from typing import Any

import jinja2

from vidsme_jax.records import files
from vidsme_jax.records import runs as run_files
from vidsme_jax.report.csv_rows import metric_rows
from vidsme_jax.report.page import Figure, Page, Table
from vidsme_jax.report.sections import build


def write(
    out: Path,
    result: dict[str, Any],
    runs: list[run_files.Run],
    control: run_files.Run | None,
) -> None:
    """Write report.html, report.md, metrics.json, metrics.csv, clips.csv, figures/*.svg.

    Each file is replaced whole; other files in `out` stay.

    Args:
        out: directory, made where missing.
        result: what `commands.evaluate.evaluate` returns.
        runs: the runs it was made of, in the same order.
        control: the control run, or None.
    """
    page = build(result, runs, control)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for section in page.sections:
        curves = [clip.curve for clip in section.clips if clip.curve]
        for figure in (*section.figures, *curves):
            _write(out / "figures" / f"{figure.name}.svg", figure.svg + "\n")
    files.write_json(out / "metrics.json", _finite(_without_clips(result)))
    _write_csv(out / "metrics.csv", metric_rows(result))
    _write_csv(out / "clips.csv", _clip_rows(result))
    _write(out / "report.md", render_markdown(page))
    _write(out / "report.html", render_html(page))


def render_html(page: Page) -> str:
    """Return one self-contained HTML page; autoescape is on."""
    text = Path(__file__).with_name("template.html").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.from_string(text).render(page=page)


def render_markdown(page: Page) -> str:
    """Return the same content as Markdown, its figures as files beside it."""
    parts = [f"# {_md(page.title)}"]
    for section in page.sections:
        parts.append(f"## {_md(section.title)}")
        for answer in section.answers:
            parts += [f"### {_md(answer.title)}"] if answer.title else []
            parts += [f"**Warning: {_md(answer.warning)}**"] if answer.warning else []
            parts.append(f"**{_md(answer.lead)}**")
            parts.append("\n".join(f"- {_md(note)}" for note in answer.notes))
        parts += [_md(text) for text in section.paragraphs]
        parts += [_md_figure(figure) for figure in section.figures]
        if section.tables_in_markdown:
            parts += [_md_table(table) for table in section.tables]
        for clip in section.clips:
            parts += [f"### {_md(clip.id)}", _md(clip.text)]
            parts += [_md_figure(clip.curve)] if clip.curve else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _write(path: Path, text: str) -> None:
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _md(text: str) -> str:
    """Escape what Markdown or the HTML inside it would read as markup."""
    line = escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_\[\]|~#!])", r"\\\1", line)


def _md_table(table: Table) -> str:
    rows = [table.header, ["---"] * len(table.header), *table.rows]
    lines = [
        f"| {' | '.join(cell if k == 1 else _md(cell) for cell in row)} |"
        for k, row in enumerate(rows)
    ]
    caption = [f"### {_md(table.caption)}", ""] if table.caption else []
    return "\n".join([*caption, *lines])


def _md_figure(figure: Figure) -> str:
    return f"![{_md(figure.title)}](figures/{figure.name}.svg)"


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON cannot hold, by None."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    names = list(dict.fromkeys(key for row in rows for key in row))
    with (
        files.replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _without_clips(result: dict[str, Any]) -> dict[str, Any]:
    """Leave out what clips.csv holds, a row for each clip."""
    runs = [
        run | {"frames": [_without(data) for data in run["frames"]]}
        for run in result["runs"]
    ]
    return result | {"runs": runs}


def _without(data: dict[str, Any]) -> dict[str, Any]:
    verdict = data["verdict"]
    if verdict is not None:
        verdict = {key: value for key, value in verdict.items() if key != "clips"}
    kept = {key: value for key, value in data.items() if key != "clips"}
    return kept | {"verdict": verdict}


def _clip_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"run": run["name"], "frames": data["frames"], **row}
        for run in result["runs"]
        for data in run["frames"]
        for row in data["clips"]
    ]
