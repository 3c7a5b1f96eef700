"""The types that a report is made of: sections of text, tables, figures and clips."""

from dataclasses import dataclass

from vidsme_jax.report.words.answers import Answer


@dataclass(frozen=True)
class Table:
    """A table of strings, with its caption."""

    header: list[str]
    rows: list[list[str]]
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        name: name of its file, without suffix.
        title: title of the figure.
        svg: the drawing.
    """

    name: str
    title: str
    svg: str

    def _repr_svg_(self) -> str:
        """Return the picture, which a notebook shows."""
        return self.svg


@dataclass(frozen=True)
class FrameMark:
    """A number in colour below a frame of a strip.

    Attributes:
        text: number of the frame in the clip, from 1, and the number.
        colour: colour of the ground, `#rrggbb`.
        ink: colour of the text.
    """

    text: str
    colour: str
    ink: str


@dataclass(frozen=True)
class ClipCard:
    """A clip to look at.

    Attributes:
        title: name of the clip's file, or its id.
        id: id of the clip; empty where the title is the id.
        text: its scores.
        strips: names and data URIs of images of frames side by side, the natural first.
        marks: a mark for each frame of the natural strip; empty without a curve.
        curve: curve of the score along the clip, or None.
    """

    title: str
    id: str
    text: str
    strips: tuple[tuple[str, str], ...]
    marks: tuple[FrameMark, ...]
    curve: Figure | None


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Attributes:
        title: title of the section.
        answers: answers in plain words.
        paragraphs: notes.
        tables: tables.
        figures: figures.
        clips: clips to look at.
        folded: whether the section is closed when the page opens.
        tables_in_markdown: whether report.md has the tables; not if they are very long.
    """

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
    """The whole report: its title and its sections."""

    title: str
    sections: tuple[Section, ...]
