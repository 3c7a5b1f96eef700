"""Prompts with slots, and the ChatML prompt that several ports share."""

from dataclasses import dataclass, replace
from enum import Enum


class Slot(Enum):
    """A place in a template that another text or the video fills."""

    SYSTEM = "system message"
    VIDEO = "video"
    TIMES = "when the frames were taken"
    QUESTION = "question"


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
    """

    pieces: tuple[str | Slot, ...]
    system: str = ""
    told: tuple[str | Slot, ...] | None = None
    cuts: tuple[tuple[Slot, str], ...] = ()
    lead: str = ""
    end: str = "<|im_end|>"

    @property
    def says_times(self) -> bool:
        """Whether the prompt says when the frames were taken."""
        return Slot.TIMES in self.pieces

    def with_system(self, system: str | None) -> "Template":
        """Return the template with a system message; None keeps the default message."""
        if system is None:
            return self
        return replace(self, pieces=self.told or self.pieces, system=system)


CHATML = Template(
    (
        *("<|im_start|>system\n", Slot.SYSTEM, "<|im_end|>\n<|im_start|>user\n"),
        *(Slot.VIDEO, "\n", Slot.QUESTION, "<|im_end|>\n<|im_start|>assistant\n"),
    ),
    system="You are a helpful assistant.",
)
