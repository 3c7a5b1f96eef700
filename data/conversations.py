"""Read the dialogues of training lists: `conversations` and `messages`, turn by turn.

LLaVA and ShareGPT write `conversations`, with from and value, human and gpt. Chat templates
of transformers take `messages`, with role and content, user and assistant; there content
is text, or parts of text and video.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidsme_jax.data.cells import checked_text, list_cell

_LONGEST = 1000  # messages; each turn is a row with all turns before it
_ASKS, _SAYS, _TELLS = "question", "answer", "system"
_ROLES = {
    **dict.fromkeys(("human", "user"), _ASKS),
    **dict.fromkeys(("gpt", "assistant", "model"), _SAYS),
    "system": _TELLS,
}
_ROLE_KEYS, _TEXT_KEYS = ("from", "role"), ("value", "content")
_VIDEO_PARTS = ("video", "video_url")
# Placeholders of a video in a text. Each template shows the video itself.
_PLACEHOLDER = re.compile(r"<(?:video|image)>")


@dataclass(frozen=True)
class Dialogue:
    """A conversation about a video.

    Attributes:
        system: the system message; None for none.
        turns: questions with their answers, in order; "" for an answer that is not there.
        parts: the parts of messages that show a video, as they are.
    """

    system: str | None
    turns: tuple[tuple[str, str], ...]
    parts: tuple[Mapping[str, Any], ...]


def read_dialogue(value: Any) -> Dialogue:
    """Read the turns of a dialogue.

    Raises:
        ValueError: no list of messages, an unknown role, or roles that do not alternate.
    """
    messages = list_cell(value, "conversations", "messages of from and value")
    parts: list[Mapping[str, Any]] = []
    spoken = [_message(n, message, parts) for n, message in enumerate(messages, 1)]
    system = None
    if spoken and spoken[0][0] == _TELLS:
        system, spoken = spoken[0][1], spoken[1:]
    roles = [role for role, _ in spoken]
    expected = ([_ASKS, _SAYS] * len(roles))[: len(roles)]
    if not spoken or roles != expected:
        raise ValueError(
            f"conversations has the roles {', '.join(roles) or 'of nobody'}, expected"
            " questions and answers in turn"
        )
    if len(spoken) > _LONGEST:
        raise ValueError(
            f"conversations has {len(spoken):,} messages, expected up to {_LONGEST:,}"
        )
    texts = [text for _, text in spoken] + [""] * (len(spoken) % 2)
    turns = tuple(zip(texts[::2], texts[1::2], strict=True))
    return Dialogue(system, turns, tuple(parts))


def _message(number: int, message: Any, parts: list) -> tuple[str, str]:
    """Return role and text of a message; its parts with a video are added to `parts`."""
    if not isinstance(message, Mapping):
        raise ValueError(f"conversations has {str(message)[:40]!r}, expected an object")
    role = next((message[k] for k in _ROLE_KEYS if message.get(k) is not None), None)
    role = role.lower() if isinstance(role, str) else role
    if role not in _ROLES:
        raise ValueError(
            f"message {number} of conversations is from {role!r}, expected human and gpt,"
            " or user and assistant"
        )
    content = next((message[k] for k in _TEXT_KEYS if message.get(k) is not None), None)
    if isinstance(content, str):
        return _ROLES[role], checked_text(content, "conversations")
    if not isinstance(content, Sequence):
        raise ValueError(f"message {number} of conversations has no text")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind in _VIDEO_PARTS:
            parts.append(part)
        else:
            raise ValueError(
                f"message {number} of conversations has a part {str(part)[:40]!r},"
                " expected text and video"
            )
    return _ROLES[role], checked_text("\n".join(texts), "conversations")


def shows_video(value: Any) -> bool:
    """Return whether a message has a part that shows a video, whatever else is wrong."""
    try:
        messages = list_cell(value, "conversations", "messages")
    except ValueError:
        return False
    contents = [m.get("content") for m in messages if isinstance(m, Mapping)]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return any(isinstance(p, Mapping) and p.get("type") in _VIDEO_PARTS for p in parts)


def without_placeholder(question: str) -> tuple[str, int, int]:
    """Take a leading placeholder of the video off a question.

    Returns:
        The question; how many placeholders were taken off, 0 or 1; how many remain, as
        text.
    """
    match = _PLACEHOLDER.match(question.lstrip())
    if match is None:
        return question, 0, len(_PLACEHOLDER.findall(question))
    rest = question.lstrip()[match.end() :].lstrip()
    return rest, 1, len(_PLACEHOLDER.findall(rest))
