"""Make the prompt of every row; one that tells the frames' times waits for its clip.

Shapes are fixed before the first clip is opened. A prompt that tells times is then taken at
its longest, and made again when the times of its clip are known.
"""

from dataclasses import dataclass

from vidsme_jax.batch import Prompt
from vidsme_jax.data.prepared import ClipFacts
from vidsme_jax.data.rows import Row
from vidsme_jax.errors import InputError
from vidsme_jax.models.port import Port
from vidsme_jax.models.prompts.published import PUBLISHED, published_question
from vidsme_jax.models.prompts.template import Template
from vidsme_jax.models.prompts.times import Times, excess, frame_times
from vidsme_jax.progress import say

_LONGEST = 99999.99  # seconds of a clip, about a day


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run.

    Attributes:
        port: the checkpoint, whose tokenizer makes the tokens.
        rows: rows of the manifests.
        template: the port's, or a published one.
        published: name of the published prompt; None for the port's.
        system: system message of all rows; None takes the row's, or else the template's.
        longest: by frame count, the prompts of all rows, at their longest where they
            tell times.
        refused: by number of a row that is not scored, the reason.
    """

    port: Port
    rows: list[Row]
    template: Template
    published: str | None
    system: str | None
    longest: dict[int, list[Prompt]]
    refused: dict[int, str]

    @property
    def timed(self) -> bool:
        """Return whether the prompts say when the frames were taken."""
        return self.template.says_times

    def of_clip(self, n: int, frames: int, facts: ClipFacts) -> Prompt:
        """Return the prompt of row n, with the times of its clip's frames if it tells them.

        Args:
            n: number of the row.
            frames: the frame count.
            facts: facts of its clip.
        """
        if not self.timed or n in self.refused or not facts.is_ok:
            return self.longest[frames][n]
        duration, fps = facts.file.duration, facts.file.fps
        assert duration and fps  # else the row has a fault
        return self._make(n, frame_times(duration, fps, facts.at[frames].frame_indices))

    def fault(self, n: int, facts: ClipFacts) -> ClipFacts | None:
        """Return why a row has no prompt, as status and error; None where it has one.

        Args:
            n: number of the row.
            facts: facts of its clip.
        """
        if n in self.refused:
            return ClipFacts("too_long", self.refused[n])
        if not self.timed or not facts.is_ok:
            return None
        duration = facts.file.duration
        if not duration:
            error = "no frame rate, which this model's prompt needs"
            return ClipFacts("decode_error", error)
        if duration > _LONGEST:
            error = f"the clip lasts {duration:.0f} s, expected up to {_LONGEST} s"
            return ClipFacts("too_long", error)
        return None

    def _make(self, n: int, times: Times) -> Prompt:
        """Return the prompt of row n, with some times of the frames."""
        row = self.rows[n]
        question, system = row.question, self.system
        system = row.system if system is None else system
        history = row.history if self.template.turn else ()
        if self.published:
            question = published_question(self.published, row.asked, row.options)
        return self.port.prompt(question, row.answer, system, times, self.template, history)


def make_prompts(
    port: Port,
    rows: list[Row],
    counts: tuple[int, ...],
    system: str | None,
    published: str | None,
    max_text: int,
) -> Prompts:
    """Make the prompts of all rows.

    Args:
        port: the checkpoint, whose tokenizer makes the tokens.
        rows: rows of the manifests.
        counts: the frame counts.
        system: system message of all rows; None takes the row's, or else the template's.
        published: a name of `PUBLISHED`; None for the port's prompt.
        max_text: tokens of question and answer beyond which a row is refused.

    Raises:
        InputError: no such published prompt; a tokenizer that lacks its tokens; a prompt
            with more positions than the model takes.
    """
    if published and published not in PUBLISHED:
        raise InputError(f"published_prompt={published}, there are {', '.join(PUBLISHED)}")
    if published and not port.tokenizer.has("<|im_start|>"):
        raise InputError(
            f"published_prompt={published} is written for tokenizers with <|im_start|>,"
            f" which that of {port.directory} does not have"
        )
    template = PUBLISHED[published] if published else port.template
    if line := template.lost_turns(sum(bool(row.history) for row in rows)):
        say(line)
    out = Prompts(port, rows, template, published, system, {}, {})
    for frames in sorted(counts, reverse=True):
        if out.longest and not out.timed:
            out.longest[frames] = out.longest[max(counts)]
            continue
        times = Times(_LONGEST, (_LONGEST,) * frames)
        out.longest[frames] = [out._make(n, times) for n in range(len(rows))]
        _refuse_long(out, frames, max_text)
    for frames, prompts in out.longest.items():
        port.check_length(prompts, frames)
    return out


def _refuse_long(prompts: Prompts, frames: int, max_text: int) -> None:
    """Refuse the rows with too much text; their prompts lose the text after the video."""
    for n, prompt in enumerate(prompts.longest[frames]):
        if reason := excess(prompt, max_text):
            prompts.refused.setdefault(n, reason)
        if n in prompts.refused:
            prompts.longest[frames][n] = Prompt(prompt.before, (), ())
