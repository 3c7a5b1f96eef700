"""Prompts as token ids: the only import of transformers.

A prompt is a template with slots. Special tokens are recognised in the template's own text
only: a manifest that holds `<|im_end|>` asks about these characters, and cannot end the
user's turn. Without such a manifest the ids are those of the whole prompt encoded at once.
"""

import os
import re
import warnings
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache, partial
from pathlib import Path

from vidsme_jax.errors import InputError
from vidsme_jax.models.config import read_config
from vidsme_jax.progress import say
from vidsme_jax.scoring import Prompt

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns where torch is absent


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
        strips: whether the template cuts the white space around a question.
        lead: text between the prompt and an answer, such as a space.
        end: the token that ends an answer.
    """

    pieces: tuple[str | Slot, ...]
    system: str = ""
    told: tuple[str | Slot, ...] | None = None
    strips: bool = False
    lead: str = ""
    end: str = "<|im_end|>"


CHATML = Template(
    (
        *("<|im_start|>system\n", Slot.SYSTEM, "<|im_end|>\n<|im_start|>user\n"),
        *(Slot.VIDEO, "\n", Slot.QUESTION, "<|im_end|>\n<|im_start|>assistant\n"),
    ),
    system="You are a helpful assistant.",
)


@dataclass(frozen=True)
class _Text:
    """Some text of a prompt; only the template's own is trusted to hold special tokens."""

    text: str
    trusted: bool


class Tokenizer:
    """A checkpoint's tokenizer, reduced to what prompts need."""

    def __init__(self, directory: Path):
        from transformers import AutoTokenizer

        self.directory = directory
        try:
            # Warnings are about the config, which it reads beside the tokenizer.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = AutoTokenizer.from_pretrained(
                    directory, local_files_only=True, trust_remote_code=False
                )
            self._loaded, self._fast = loaded, loaded.backend_tokenizer
        except Exception as error:  # its errors have no common type
            reason = " ".join(str(error).split())[:150] or type(error).__name__
            raise InputError(
                f"model={directory} has no tokenizer that transformers can load,"
                f" expected tokenizer.json and tokenizer_config.json: {reason}"
            ) from error
        self._fast.no_truncation()
        self._fast.no_padding()

    def __len__(self) -> int:
        """The number of ids, one more than the largest; some may have no token."""
        return self._length

    @cached_property
    def _length(self) -> int:
        return max(self._fast.get_vocab(with_added_tokens=True).values()) + 1

    @cached_property
    def _specials(self) -> tuple[str, ...]:
        added = self._fast.get_added_tokens_decoder().values()
        return tuple(token.content for token in added if token.special)

    def has(self, text: str) -> bool:
        """Tell whether a token has exactly this text."""
        return self._fast.token_to_id(text) is not None

    def token(self, number: int) -> str | None:
        """Return the text of a token, None where the id has none."""
        return self._fast.id_to_token(number) if 0 <= number < len(self) else None

    def is_added(self, number: int) -> bool:
        """Tell whether a token is found in text as a whole, as placeholders are."""
        return number in self._fast.get_added_tokens_decoder()

    def special(self, text: str) -> int:
        """Return the id of a token by its exact text."""
        found = self._fast.token_to_id(text)
        if found is None:
            raise InputError(f"the tokenizer has no token {text!r}, which the prompt needs")
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text, special tokens not recognised, none added."""
        self._fast.encode_special_tokens = True
        return self._fast.encode(text, add_special_tokens=False).ids

    def prompt(
        self, template: Template, words: dict[Slot, str], answer: str, video: str | None
    ) -> Prompt:
        """Fill a template's slots and encode it.

        Args:
            template: the prompt.
            words: text of every slot but the video.
            answer: follows the prompt.
            video: the placeholder's token where the model's own text has one; without,
                the text on either side of the video is encoded by itself.
        """
        texts: list[_Text | None] = []
        for piece in template.pieces:
            if piece is Slot.VIDEO:
                texts.append(None)
            elif isinstance(piece, Slot):
                texts.append(_Text(words[piece], False))
            else:
                texts.append(_Text(piece, True))
        said = [*texts, _Text(template.lead, True), _Text(answer, False)]
        before, after = self._sides(texts, video)
        _, whole = self._sides(said, video)
        # Where prompt and answer would merge into one token, the prompt stays as it is.
        follows = whole[: len(after)] == after
        spoken = whole[len(after) :] if follows else self.encode(answer)
        return Prompt(tuple(before), tuple(after), tuple(spoken if answer else ()))

    def _sides(self, texts: list["_Text | None"], video: str | None) -> list[list[int]]:
        """Return the ids before and after the video, whose place is None."""
        at = texts.index(None)
        sides = [[t for t in part if t] for part in (texts[:at], texts[at + 1 :])]
        special = _finder((*self._specials, video) if video else self._specials)
        if any(special.search(t.text) for t in texts if t and not t.trusted):
            # Special tokens in the words of others stay words: encode between our own.
            front = self._front("".join(t.text for t in sides[0][:1] if t.trusted))
            return [
                front + self._between(sides[0], special),
                self._between(sides[1], special),
            ]
        before, after = ("".join(t.text for t in side) for side in sides)
        self._fast.encode_special_tokens = False
        encode = partial(self._fast.encode, add_special_tokens=False)
        if video is None:
            return [self._front(before) + encode(before).ids, encode(after).ids]
        ids = self._front(before) + encode(before + video + after).ids
        place = ids.index(self.special(video))
        return [ids[:place], ids[place + 1 :]]

    def _front(self, text: str) -> list[int]:
        """Return what the tokenizer puts before a text, unless a template brought it."""
        bos = self._loaded.bos_token
        if bos and text.startswith(bos):
            return []
        bare, whole = (
            self._fast.encode("x", add_special_tokens=more).ids for more in (False, True)
        )
        at = next(n for n in range(len(whole)) if whole[n : n + len(bare)] == bare)
        return whole[:at]

    def _between(self, texts: list[_Text], special: re.Pattern[str]) -> list[int]:
        """Encode texts that others wrote, special tokens taken from trusted ones only."""
        ids, waiting = [], ""
        for part in texts:
            at = 0
            for found in special.finditer(part.text) if part.trusted else ():
                ids += self.encode(waiting + part.text[at : found.start()])
                ids.append(self.special(found.group()))
                waiting, at = "", found.end()
            waiting += part.text[at:]
        return ids + self.encode(waiting)

    def chat_template(self, video: str) -> Template | None:
        """Return the checkpoint's own chat template with slots, None where it has none.

        A template that cannot show a video, such as the language model's own, is said to
        be none.

        Args:
            video: what templates write where a video stands.
        """
        source = self._chat_source()
        if source is None:
            return None
        system, question = _marked("System"), _marked("Question")
        slots = {system: Slot.SYSTEM, question: Slot.QUESTION, video: Slot.VIDEO}
        plain = self._render(source, [_asks(question)]) or ""
        if any(plain.count(word) != 1 for word in (video, question)):
            say(
                f"model={self.directory}: its chat template does not show a video and a"
                " question once each; the prompt of its family is used"
            )
            return None
        said = {"role": "system", "content": [{"type": "text", "text": system}]}
        both = self._render(source, [said, _asks(question)]) or ""
        usable = all(both.count(word) == 1 for word in slots)
        default = _default_system(plain, both, system) if usable else None
        padded = self._render(source, [_asks(f" {question}\n")]) or ""
        return Template(
            _cut(plain if default is None else both, slots),
            system=default or "",
            told=_cut(both, slots) if usable and default is None else None,
            strips=f" {question}\n" not in padded,
            lead=self._lead(source, _asks(question), plain),
            end=self._loaded.eos_token or "",
        )

    def _chat_source(self) -> str | None:
        """Return the processor's template, or the tokenizer's."""
        for name in ("processor_config.json", "chat_template.json"):
            path = self.directory / name
            content = read_config(path) if path.is_file() else {}
            if isinstance(content.get("chat_template"), str):
                return content["chat_template"]
        found = self._loaded.chat_template  # of chat_template.jinja, or its own
        return found.get("default") if isinstance(found, dict) else found

    def _render(self, source: str, messages: list, prompt: bool = True) -> str | None:
        try:
            text = self._loaded.apply_chat_template(
                messages,
                chat_template=source,
                add_generation_prompt=prompt,
                tokenize=False,
            )
        except Exception:  # a template may fail in any way on messages it was not made for
            return None
        return str(text)

    def _lead(self, source: str, user: dict, plain: str) -> str:
        """Return what the template puts between its prompt and an answer."""
        answer = _marked("Answer")
        said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        whole = self._render(source, [user, said], prompt=False) or ""
        if not whole.startswith(plain) or answer not in whole:
            return ""
        return whole[len(plain) : whole.index(answer)]


def _asks(question: str) -> dict:
    """Return the message that shows the video and asks."""
    content = [{"type": "video"}, {"type": "text", "text": question}]
    return {"role": "user", "content": content}


@lru_cache
def _finder(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of any of the words, none taken for a part of a longer one."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _marked(name: str) -> str:
    """Return a word that no template contains and no filter changes."""
    return f"\ue000{name}\ue001"


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
