"""Turn a checkpoint's chat template into a prompt template with slots.

A chat template is a program. It is rendered with marker texts as system message, question
and answer, and the result is cut at the markers. More renderings show whether it strips
white space; a template that changes the texts in other ways is not used.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vidsme_jax import reading
from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.prompts.template import Slot, Template
from vidsme_jax.progress import say

Render = Callable[..., str | None]  # render(source, messages, prompt=True)


def find_chat_template(
    folders: list[Path], tokenizer_source: Any, render: Render, end: str, video: str
) -> Template | None:
    """Return the checkpoint's template; None where it has none or none that can be used.

    A template that cannot be used gives a message, since a prompt of the family takes its
    place. This also happens to a language model's template, which cannot show a video.

    Args:
        folders: the checkpoint, or an adapter and its base.
        tokenizer_source: the chat template, or named templates, of the tokenizer.
        render: render(source, messages, prompt=True) -> text, None where it fails.
        end: text of the token that ends an answer.
        video: the text that templates write where a video stands.
    """
    sources = _read_sources(folders, tokenizer_source)
    if not sources:
        return None
    source = sources.get("default") if isinstance(sources, dict) else sources
    template = _parse(partial(render, source), video) if isinstance(source, str) else None
    if template is None:
        say(
            f"model={folders[-1]}: its chat template does not show a video and a question"
            " once each, as they are; the prompt of its family is used"
        )
        return None
    return replace(template, end=end)


def _read_sources(folders: list[Path], tokenizer_source: Any) -> Any:
    """Return a chat template, or named ones, from the first file that has any.

    Those of processors precede those of tokenizers, since they are made to show videos.
    """
    sources = None
    for folder in folders:
        for name in ("processor_config.json", "chat_template.json"):
            path = folder / name
            content = read_config(path) if path.is_file() else {}
            sources = sources or content.get("chat_template")
    # The tokenizer also reads chat_template.jinja.
    sources = sources or tokenizer_source
    for folder in folders[1:]:
        sources = sources or _read_tokenizer_source(folder)
    if isinstance(sources, list):
        entries = [entry for entry in sources if isinstance(entry, dict)]
        return {entry.get("name"): entry.get("template") for entry in entries}
    return sources


def _read_tokenizer_source(folder: Path) -> Any:
    """Return the chat template of a tokenizer that is not loaded."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        try:
            return reading.read_text(path, reading.TEMPLATE)
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is no chat template: {error}") from error
    config = folder / "tokenizer_config.json"
    return read_config(config).get("chat_template") if config.is_file() else None


def _parse(render: Render, video: str) -> Template | None:
    """Return the template of a renderer; None where it changes the texts in its slots."""
    system, question = _marker("System"), _marker("Question")
    slots = {system: Slot.SYSTEM, question: Slot.QUESTION, video: Slot.VIDEO}
    plain = render([_user_message(question)]) or ""
    if any(plain.count(word) != 1 for word in (video, question)):
        return None
    both = render([_system_message(system), _user_message(question)]) or ""
    takes_system = all(both.count(word) == 1 for word in slots)
    default = _default_system(plain, both, system) if takes_system else None
    question_sides = _stripped_sides(lambda text: render([_user_message(text)]), question)
    system_sides: tuple[str, ...] | None = ()
    if takes_system:
        system_sides = _stripped_sides(
            lambda text: render([_system_message(text), _user_message(question)]), system
        )
    if question_sides is None or system_sides is None:
        return None
    needs_both = takes_system and default is None
    template = Template(
        _split_at_slots(plain if default is None else both, slots),
        system=default or "",
        told=_split_at_slots(both, slots) if needs_both else None,
        cuts=(
            *((Slot.QUESTION, side) for side in question_sides),
            *((Slot.SYSTEM, side) for side in system_sides),
        ),
        lead=_lead(render, question, plain),
    )
    return _with_turns(template, render, question, plain, question_sides)


def _with_turns(
    template: Template,
    render: Render,
    question: str,
    plain: str,
    question_sides: tuple[str, ...],
) -> Template:
    """Return a template with what it adds for an earlier turn, where that can be told.

    Args:
        template: the template of a single question.
        render: the renderer of the chat template.
        question: the text that stands for the first question.
        plain: text of the prompt with that question.
        question_sides: sides on which questions are stripped.
    """
    answer, next_question = _marker("Answer"), _marker("Next question")

    def dialogue(first_answer: str, second_question: str) -> str:
        reply = {"role": "assistant", "content": [_text_part(first_answer)]}
        further = {"role": "user", "content": [_text_part(second_question)]}
        return render([_user_message(question), reply, further]) or ""

    opening = render([_user_message(question)], prompt=False) or ""
    invitation, whole = plain[len(opening) :], dialogue(answer, next_question)
    added = whole[len(opening) : len(whole) - len(invitation)]
    ends = [pieces[-1] for pieces in (template.pieces, template.told or template.pieces)]
    sides = _stripped_sides(lambda text: dialogue(answer, text), next_question)
    answer_sides = _stripped_sides(lambda text: dialogue(text, next_question), answer)
    fits = (
        opening + invitation == plain
        and whole == opening + added + invitation
        and [added.count(word) for word in (answer, next_question)] == [1, 1]
        and added.index(answer) < added.index(next_question)
        and all(isinstance(end, str) and end.endswith(invitation) for end in ends)
        and sides == question_sides
    )
    if not fits or answer_sides is None:
        return template
    slots = {answer: Slot.ANSWER, next_question: Slot.QUESTION}
    cuts = (*template.cuts, *((Slot.ANSWER, side) for side in answer_sides))
    turn = _split_at_slots(added, slots)
    return replace(template, cuts=cuts, turn=turn, invitation=invitation)


def _lead(render: Render, question: str, plain: str) -> str:
    """Return the text that the template puts between its prompt and an answer."""
    answer = _marker("Answer")
    reply = {"role": "assistant", "content": [_text_part(answer)]}
    whole = render([_user_message(question), reply], prompt=False) or ""
    if not whole.startswith(plain) or answer not in whole:
        return ""
    return whole[len(plain) : whole.index(answer)]


def _system_message(system: str) -> dict:
    return {"role": "system", "content": [_text_part(system)]}


def _text_part(text: str) -> dict:
    return {"type": "text", "text": text}


def _user_message(question: str) -> dict:
    """Return the message of a user who shows a video and asks a question."""
    content = [{"type": "video"}, _text_part(question)]
    return {"role": "user", "content": content}


def _marker(name: str) -> str:
    """Return a text that no template contains and that every filter would change."""
    return f"\ue000{name}  <&'\"{{}}>\n\t of Some length\ue001"


def _stripped_sides(
    render: Callable[[str], str | None], marker: str
) -> tuple[str, ...] | None:
    """Return the sides, "left" or "right", on which a template strips a text.

    None where it strips some kinds of white space only, or changes the text in other ways.
    """
    base, kept = (render(marker) or "").split(marker), []
    for space in " \n\t":
        sides = (render(f"{space}{marker}{space}") or "").split(marker)
        if len(sides) != 2 or len(base) != 2:
            return None
        extra = (sides[0].removeprefix(base[0]), sides[1].removesuffix(base[1]))
        if not set(extra) <= {"", space}:
            return None
        kept.append((bool(extra[0]), bool(extra[1])))
    if len(set(kept)) > 1:
        return None
    return tuple(
        name for name, stays in zip(("left", "right"), kept[0], strict=True) if not stays
    )


def _default_system(plain: str, both: str, marker: str) -> str | None:
    """Return the system message that a template inserts where it gets none.

    Args:
        plain: text of the template without a system message.
        both: text of the template with a system message.
        marker: that system message.

    Returns:
        The message; None where no message turns the second text into the first.
    """
    head, tail = both.split(marker)
    if plain.startswith(head) and plain.endswith(tail) and len(plain) >= len(head + tail):
        return plain[len(head) : len(plain) - len(tail)]
    return None


def _split_at_slots(text: str, slots: dict[str, Slot]) -> tuple[str | Slot, ...]:
    """Return a text as pieces, each marker replaced by its slot."""
    pieces = re.split("(" + "|".join(map(re.escape, slots)) + ")", text)
    return tuple(slots.get(piece, piece) for piece in pieces if piece)
