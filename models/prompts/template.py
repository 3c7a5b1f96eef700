"""Prompts with slots, and the ChatML prompt that several ports share."""

from dataclasses import dataclass, replace
from enum import Enum


class Slot(Enum):
    """A place in a template."""

    SYSTEM = "system message"
    VIDEO = "video"
    TIMES = "when the frames were taken"
    QUESTION = "question"


@dataclass(frozen=True)
class Template:
    """A prompt with slots.

    Attributes:
        pieces: text of the template, and slots; the video stands in it once.
        system: the default system message.
        told: the pieces with a system message, for a template that has none by itself.
        cuts: slots whose text loses the white space on its left or right side.
        lead: text between the prompt and an answer, such as a space.
        end: the token that ends an answer.
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

    def saying(self, system: str | None) -> "Template":
        """Return the template with a system message, its own where None is given."""
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
