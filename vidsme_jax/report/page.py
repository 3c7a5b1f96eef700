"""What a report is made of: sections of text, tables, figures and clips."""

from dataclasses import dataclass

from vidsme_jax.report.words.answers import Answer


@dataclass(frozen=True)
class Table:
    """A table of strings."""

    header: list[str]
    rows: list[list[str]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure and the name of its file, without suffix."""

    name: str
    title: str
    svg: str

    def _repr_svg_(self) -> str:
        """Return the picture, which a notebook shows."""
        return self.svg


@dataclass(frozen=True)
class ClipCard:
    """A clip to look at; `strips` are names and data URIs of frames side by side."""

    id: str
    text: str
    strips: tuple[tuple[str, str], ...]
    curve: Figure | None


@dataclass(frozen=True)
class Section:
    """A part of the report; `tables_in_markdown` is off for very long ones."""

    title: str
    answers: tuple[Answer, ...] = ()
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    clips: tuple[ClipCard, ...] = ()
    folded: bool = False
    tables_in_markdown: bool = True


@dataclass(frozen=True)
class Page:
    """The whole report."""

    title: str
    sections: tuple[Section, ...]
