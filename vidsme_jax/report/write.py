"""Write a result as HTML page, Markdown, JSON, CSV and SVG files.

Every text that comes from data is escaped: by jinja2 in the page, by `_md` in Markdown,
by `svg` in figures.
"""

import re
from html import escape
from pathlib import Path

import jinja2

from vidsme_jax.errors import InputError
from vidsme_jax.evaluation.result import Result
from vidsme_jax.records import files
from vidsme_jax.records.csv_tables import write_csv
from vidsme_jax.report.csv_rows import clip_rows, metric_rows
from vidsme_jax.report.metrics_json import metrics_json
from vidsme_jax.report.page import Figure, Page, Table
from vidsme_jax.report.sections import build


def check_report_folder(out: Path) -> None:
    """Refuse a folder that a report cannot be written into.

    Raises:
        InputError: it, or a folder above it, is a file; it holds a run or a store.
    """
    files.check_folder("out", out)
    for name in ("run.json", "store.json"):
        if (out / name).exists():
            raise InputError(f"out={out} holds {name}, expected a folder for the report")


def write_report(result: Result, out: Path) -> None:
    """Write report.html, report.md, metrics.json, metrics.csv, clips.csv, figures/*.svg.

    Beside each CSV file lies a Parquet file with the cells as they are. Each file is
    replaced whole; other files in `out` stay.

    Args:
        result: result of `evaluation.evaluate`.
        out: directory; made where missing.

    Raises:
        InputError: see `check_report_folder`.
    """
    check_report_folder(out)
    page = build(result)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for section in page.sections:
        curves = [clip.curve for clip in section.clips if clip.curve]
        for figure in (*section.figures, *curves):
            _write(out / "figures" / f"{figure.name}.svg", figure.svg + "\n")
    files.write_json(out / "metrics.json", metrics_json(result))
    write_csv(out / "metrics.csv", metric_rows(result))
    write_csv(out / "clips.csv", clip_rows(result))
    _write(out / "report.md", render_markdown(page))
    _write(out / "report.html", render_html(page))


def render_html(page: Page) -> str:
    """Return a page as a single HTML file; all texts are escaped."""
    text = Path(__file__).with_name("template.html").read_text()
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    return environment.from_string(text).render(page=page)


def render_markdown(page: Page) -> str:
    """Return a page as Markdown, with links to the files of its figures."""
    blocks = [f"# {_md(page.title)}"]
    for section in page.sections:
        blocks.append(f"## {_md(section.title)}")
        for answer in section.answers:
            blocks += [f"### {_md(answer.title)}"] if answer.title else []
            blocks += [f"**Warning: {_md(answer.warning)}**"] if answer.warning else []
            blocks.append(f"**{_md(answer.lead)}**")
            blocks.append("\n".join(f"- {_md(note)}" for note in answer.notes))
        blocks += [_md(text) for text in section.paragraphs]
        blocks += [_md_figure(figure) for figure in section.figures]
        if section.tables_in_markdown:
            blocks += [_md_table(table) for table in section.tables]
        for clip in section.clips:
            clip_id = f" (id {clip.id})" if clip.id else ""
            blocks += [f"### {_md(clip.title + clip_id)}", _md(clip.text)]
            blocks += [_md_figure(clip.curve)] if clip.curve else []
    return "\n\n".join(block for block in blocks if block) + "\n"


def _write(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with files.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _md(text: str) -> str:
    """Escape characters that are markup in Markdown or in HTML."""
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
