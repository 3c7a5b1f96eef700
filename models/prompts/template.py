"""Prompts with slots, and the ChatML prompt that several ports share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum


class Slot(Enum):
    """A place in a template that another text or the video fills."""

    SYSTEM = "system message"
    VIDEO = "video"
    ANSWER = "answer of an earlier turn"
    TIMES = "when the frames were taken"
    QUESTION = "question"


@dataclass(frozen=True)
class Text:
    """A text of a prompt; special tokens are recognised in it only if it is trusted."""

    text: str
    trusted: bool


@dataclass(frozen=True)
class Template:
    """The template of a prompt: text with slots.

    Runs are identified by a hash of its text form, so its fields keep their names.

    Attributes:
        pieces: texts and slots in order; the video's slot stands among them once.
        system: default system message; "" for none.
        told: pieces that hold a system message, for a template whose own pieces have no
            slot for it.
        cuts: slots whose text loses its white space, each with a side, "left" or "right".
        lead: text between the prompt and an answer, such as a space.
        end: text of the token that ends an answer.
        turn: what each earlier turn adds, from its answer up to the next question and its
            end; None for a template of a single question.
        invitation: text at the end of the pieces that invites the answer. Earlier turns
            stand before it.
    """

    pieces: tuple[str | Slot, ...]
    system: str = ""
    told: tuple[str | Slot, ...] | None = None
    cuts: tuple[tuple[Slot, str], ...] = ()
    lead: str = ""
    end: str = "<|im_end|>"
    turn: tuple[str | Slot, ...] | None = None
    invitation: str = ""

    @property
    def says_times(self) -> bool:
        """Whether the prompt says when the frames were taken."""
        return Slot.TIMES in self.pieces

    def with_system(self, system: str | None) -> "Template":
        """Return the template with a system message; None keeps the default message."""
        if system is None:
            return self
        return replace(self, pieces=self.told or self.pieces, system=system)

    def lost_turns(self, rows: int) -> str:
        """Return a sentence where rows have earlier turns that the prompt does not show.

        Args:
            rows: number of rows with earlier turns.
        """
        if self.turn is not None or not rows:
            return ""
        return f"the prompt shows a single question: {rows} rows lose their earlier turns"

    def fill(
        self, words: Mapping[Slot, str], history: Sequence[tuple[str, str]] = ()
    ) -> list[Text | None]:
        """Return the texts of the prompt in order; None stands for the video.

        Args:
            words: text of every slot but the video's; the question is the last one.
            history: earlier turns, each a question and its answer.

        Raises:
            ValueError: earlier turns for a template of a single question.
        """
        if not history:
            return [self._text(piece, words) for piece in self.pieces]
        if self.turn is None:
            raise ValueError("this template has no earlier turns")
        *before, last = self.pieces
        assert isinstance(last, str) and last.endswith(self.invitation), self
        opening = (*before, last.removesuffix(self.invitation))
        first = {**words, Slot.QUESTION: history[0][0]}
        texts = [self._text(piece, first) for piece in opening]
        questions = [*(question for question, _ in history[1:]), words[Slot.QUESTION]]
        for (_, answer), question in zip(history, questions, strict=True):
            turn = {Slot.ANSWER: answer, Slot.QUESTION: question}
            texts += [self._text(piece, turn) for piece in self.turn]
        return [*texts, Text(self.invitation, True)]

    def _text(self, piece: str | Slot, words: Mapping[Slot, str]) -> Text | None:
        """Return the text of a piece, without the white space that is cut."""
        if isinstance(piece, str):
            return Text(piece, True)
        if piece is Slot.VIDEO:
            return None
        text = words[piece]
        if (piece, "left") in self.cuts:
            text = text.lstrip()
        return Text(text.rstrip() if (piece, "right") in self.cuts else text, False)


_CHATML_TURN = (
    *(Slot.ANSWER, "<|im_end|>\n<|im_start|>user\n", Slot.QUESTION),
    "<|im_end|>\n<|im_start|>assistant\n",
)
CHATML = Template(
    (
        *("<|im_start|>system\n", Slot.SYSTEM, "<|im_end|>\n<|im_start|>user\n"),
        *(Slot.VIDEO, "\n", Slot.QUESTION, "<|im_end|>\n<|im_start|>assistant\n"),
    ),
    system="You are a helpful assistant.",
    turn=_CHATML_TURN,
)
