"""Prompts as token ids: the only import of transformers.

A prompt is a template with slots. Special tokens are recognised in the template's own text
only: a manifest that holds `<|im_end|>` asks about these characters, and cannot end the
user's turn. Without such a manifest the ids are those of the whole prompt encoded at once.
"""

import os
import re
import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

from vidsme_jax.batch import Prompt
from vidsme_jax.errors import InputError
from vidsme_jax.models.prompts.chat_template import find_chat_template
from vidsme_jax.models.prompts.template import Slot, Template

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns where torch is absent


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
        added = self._fast.get_added_tokens_decoder().get(number)
        if added is not None:
            return added.content
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
        _refuse_what_is_no_text([*words.values(), answer])
        texts: list[_Text | None] = []
        for piece in template.pieces:
            if piece is Slot.VIDEO:
                texts.append(None)
            elif isinstance(piece, Slot):
                texts.append(_Text(_cut_sides(template, piece, words[piece]), False))
            else:
                texts.append(_Text(piece, True))
        before, after = self._sides(texts, video)
        if not answer:
            return Prompt(tuple(before), tuple(after), ())
        said = [*texts, _Text(template.lead, True), _Text(answer, False)]
        _, whole = self._sides(said, video)
        # Where prompt and answer would merge into one token, the prompt stays as it is.
        follows = whole[: len(after)] == after
        spoken = whole[len(after) :] if follows else self.encode(answer)
        return Prompt(tuple(before), tuple(after), tuple(spoken))

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
        return [] if bos and text.startswith(bos) else self._put_in_front

    @cached_property
    def _put_in_front(self) -> list[int]:
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
        """Return the checkpoint's own chat template; see `find_chat_template`."""
        own, end = self._loaded.chat_template, self._loaded.eos_token or ""
        return find_chat_template(self.directory, own, self._render, end, video)

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


@lru_cache
def _finder(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern of any of the words, none taken for a part of a longer one."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _cut_sides(template: Template, slot: Slot, text: str) -> str:
    """Cut what the template cuts."""
    if (slot, "left") in template.cuts:
        text = text.lstrip()
    return text.rstrip() if (slot, "right") in template.cuts else text


def _refuse_what_is_no_text(texts: list[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(f"text={text[:40]!r} is not valid Unicode") from None
