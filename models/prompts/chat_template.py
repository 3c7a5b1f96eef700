"""A checkpoint's own chat template, as a prompt with slots.

The template is a program; it is rendered with marks where the system message, the question
and an answer go, and cut at the marks. What it does to white space around them is found by
rendering, and a template that changes the texts in other ways is not used.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.prompts.template import Slot, Template
from vidsme_jax.progress import say

Render = Callable[..., str | None]  # render(source, messages, prompt=True)


def find_chat_template(
    directory: Path, own: Any, render: Render, end: str, video: str
) -> Template | None:
    """Return the checkpoint's template, None where it has none or it cannot be used.

    The latter is said, since a prompt of the family takes its place. A language model's own
    template, which cannot show a video, is such a one.

    Args:
        directory: the checkpoint.
        own: the tokenizer's template or templates.
        render: render(source, messages, prompt=True) gives text, None where it fails.
        end: the token that ends an answer.
        video: what templates write where a video stands.
    """
    found = _source(directory, own)
    if not found:
        return None
    # Of named ones, the default is meant.
    source = found.get("default") if isinstance(found, dict) else found
    template = _read(partial(render, source), video) if isinstance(source, str) else None
    if template is None:
        say(
            f"model={directory}: its chat template does not show a video and a question"
            " once each, as they are; the prompt of its family is used"
        )
        return None
    return replace(template, end=end)


def _source(directory: Path, own: Any) -> Any:
    """Return a template, or named ones, from the first place that has any."""
    found = None
    for name in ("processor_config.json", "chat_template.json"):
        path = directory / name
        content = read_config(path) if path.is_file() else {}
        found = found or content.get("chat_template")
    found = found or own  # of chat_template.jinja, or the tokenizer's
    if isinstance(found, list):
        found = {e.get("name"): e.get("template") for e in found if isinstance(e, dict)}
    return found


def _read(render: Render, video: str) -> Template | None:
    system, question = _marked("System"), _marked("Question")
    slots = {system: Slot.SYSTEM, question: Slot.QUESTION, video: Slot.VIDEO}
    plain = render([_asks(question)]) or ""
    if any(plain.count(word) != 1 for word in (video, question)):
        return None
    both = render([_tells(system), _asks(question)]) or ""
    usable = all(both.count(word) == 1 for word in slots)
    default = _default_system(plain, both, system) if usable else None
    cuts = _lost(lambda text: render([_asks(text)]), question)
    told: tuple[str, ...] | None = ()
    if usable:
        told = _lost(lambda text: render([_tells(text), _asks(question)]), system)
    if cuts is None or told is None:
        return None
    return Template(
        _cut(plain if default is None else both, slots),
        system=default or "",
        told=_cut(both, slots) if usable and default is None else None,
        cuts=(
            *((Slot.QUESTION, side) for side in cuts),
            *((Slot.SYSTEM, side) for side in told),
        ),
        lead=_lead(render, question, plain),
    )


def _lead(render: Render, question: str, plain: str) -> str:
    """Return what the template puts between its prompt and an answer."""
    answer = _marked("Answer")
    said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
    whole = render([_asks(question), said], prompt=False) or ""
    if not whole.startswith(plain) or answer not in whole:
        return ""
    return whole[len(plain) : whole.index(answer)]


def _tells(system: str) -> dict:
    return {"role": "system", "content": [{"type": "text", "text": system}]}


def _asks(question: str) -> dict:
    """Return the message that shows the video and asks."""
    content = [{"type": "video"}, {"type": "text", "text": question}]
    return {"role": "user", "content": content}


def _marked(name: str) -> str:
    """Return a text that no template contains, and that filters would not leave alone."""
    return f"\ue000{name}  <&'\"{{}}>\n\t of Some length\ue001"


def _lost(render: Callable[[str], str | None], mark: str) -> tuple[str, ...] | None:
    """Return the sides on which a template cuts white space off a text.

    None where it cuts some kinds only, or changes the text in other ways.
    """
    base, kept = (render(mark) or "").split(mark), []
    for space in " \n\t":
        parts = (render(f"{space}{mark}{space}") or "").split(mark)
        if len(parts) != 2 or len(base) != 2:
            return None
        extra = (parts[0].removeprefix(base[0]), parts[1].removesuffix(base[1]))
        if not set(extra) <= {"", space}:
            return None
        kept.append((bool(extra[0]), bool(extra[1])))
    if len(set(kept)) > 1:
        return None
    return tuple(
        name for name, stays in zip(("left", "right"), kept[0], strict=True) if not stays
    )


def _default_system(plain: str, told: str, mark: str) -> str | None:
    """Return the system message that a template has by itself.

    None where the template without a message is not the one with some message put in.
    """
    head, tail = told.split(mark)
    if plain.startswith(head) and plain.endswith(tail) and len(plain) >= len(head + tail):
        return plain[len(head) : len(plain) - len(tail)]
    return None


def _cut(text: str, slots: dict[str, Slot]) -> tuple[str | Slot, ...]:
    parts = re.split("(" + "|".join(map(re.escape, slots)) + ")", text)
    return tuple(slots.get(part, part) for part in parts if part)
