"""Prompts as token ids: the only import of transformers.

A prompt is a template with slots. Special tokens are recognised in the template's own text
only: a manifest that holds `<|im_end|>` asks about these characters, and cannot end the
user's turn. Without such a manifest the ids are those of the whole prompt encoded at once.
"""

import json
import os
import re
import warnings
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path

from vidsme_jax.errors import InputError
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
        lead: text between the prompt and an answer, such as a space.
        end: the token that ends an answer.
    """

    pieces: tuple[str | Slot, ...]
    system: str = ""
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
            with (
                warnings.catch_warnings()
            ):  # of a config that it reads beside the tokenizer
                warnings.simplefilter("ignore")
                loaded = AutoTokenizer.from_pretrained(directory, local_files_only=True)
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
        return self._fast.get_vocab_size(with_added_tokens=True)

    @cached_property
    def _special(self) -> re.Pattern[str]:
        """Find the special tokens in a text."""
        added = self._fast.get_added_tokens_decoder().values()
        words = sorted((t.content for t in added if t.special), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, words)) or "(?!)")

    def has(self, text: str) -> bool:
        """Tell whether a token has exactly this text."""
        return self._fast.token_to_id(text) is not None

    def token(self, number: int) -> str | None:
        """Return the text of a token, None where the id has none."""
        return self._fast.id_to_token(number)

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
        sides: list[list[_Text]] = [[]]
        for piece in template.pieces:
            if piece is Slot.VIDEO and video is None:
                sides.append([])
            elif piece is Slot.VIDEO:
                sides[-1].append(_Text(video or "", True))
            elif isinstance(piece, Slot):
                sides[-1].append(_Text(words[piece], False))
            else:
                sides[-1].append(_Text(piece, True))
        last = sides[-1]
        ids = [self._ids(side, first=side is sides[0]) for side in sides]
        said = [*last, _Text(template.lead, True), _Text(answer, False)]
        whole = self._ids(said, first=last is sides[0])
        if video is not None:
            at = self._only(ids[0], video)
            ids = [ids[0][:at], ids[0][at + 1 :]]
            whole = whole[at + 1 :]
        before, after = ids
        # Where prompt and answer would merge into one token, the prompt stays as it is.
        follows = whole[: len(after)] == after
        spoken = whole[len(after) :] if follows else self.encode(answer)
        return Prompt(tuple(before), tuple(after), tuple(spoken if answer else ()))

    def _only(self, ids: list[int], video: str) -> int:
        """Return the one position of the video's token."""
        found = [n for n, i in enumerate(ids) if i == self.special(video)]
        assert len(found) == 1, "a template shows the video once"
        return found[0]

    def _ids(self, texts: list[_Text], first: bool) -> list[int]:
        """Encode texts as one; `first` also adds what the tokenizer puts in front."""
        whole = "".join(part.text for part in texts)
        bos = self._loaded.bos_token
        first = first and not (bos and whole.startswith(bos))  # the template brought it
        if not any(self._special.search(p.text) for p in texts if not p.trusted):
            self._fast.encode_special_tokens = False
            return self._fast.encode(whole, add_special_tokens=first).ids
        # Special tokens in the words of others stay words: encode between our own.
        self._fast.encode_special_tokens = True
        out = self._fast.encode("", add_special_tokens=True).ids if first else []
        for text, special in self._split(texts):
            out += [self.special(text)] if special else self.encode(text)
        return out

    def _split(self, texts: list[_Text]) -> list[tuple[str, bool]]:
        """Return the trusted special tokens, and the text between them joined."""
        out: list[tuple[str, bool]] = [("", False)]
        for part in texts:
            at = 0
            for found in self._special.finditer(part.text) if part.trusted else ():
                out[-1] = (out[-1][0] + part.text[at : found.start()], False)
                out += [(found.group(), True), ("", False)]
                at = found.end()
            out[-1] = (out[-1][0] + part.text[at:], False)
        return [(text, special) for text, special in out if text]

    def chat_template(self, video: str) -> Template | None:
        """Return the checkpoint's own chat template with slots, None where it has none.

        A template that cannot show a video, such as the language model's own, is none.

        Raises:
            InputError: a template that shows the video but not a question.
        """
        source = self._chat_source()
        if source is None:
            return None
        system, question = _marked("system"), _marked("question")
        user = {
            "role": "user",
            "content": [{"type": "video"}, {"type": "text", "text": question}],
        }
        told = [{"role": "system", "content": [{"type": "text", "text": system}]}, user]
        plain = self._render(source, [user])
        if plain is None or plain.count(video) != 1 or plain.count(question) != 1:
            return None
        with_system = self._render(source, told)
        both = with_system or ""
        usable = all(both.count(word) == 1 for word in (system, question, video))
        default = _default_system(plain, both, system) if usable else None
        text = plain if default is None else both
        slots = {system: Slot.SYSTEM, question: Slot.QUESTION, video: Slot.VIDEO}
        return Template(
            _cut(text, slots),
            system=default or "",
            lead=self._lead(source, user, plain),
            end=self._loaded.eos_token or "",
        )

    def _chat_source(self) -> str | None:
        """Return the processor's template, or the tokenizer's."""
        path = self.directory / "chat_template.json"
        if path.is_file():
            try:
                return str(json.loads(path.read_text())["chat_template"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"{path} holds no chat template: {error!r}") from error
        found = self._loaded.chat_template
        return found if isinstance(found, str) else None

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
        answer = _marked("answer")
        said = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        whole = self._render(source, [user, said], prompt=False) or ""
        if not whole.startswith(plain) or answer not in whole:
            return ""
        return whole[len(plain) : whole.index(answer)]


def _marked(name: str) -> str:
    """Return a word that no template contains and no filter changes."""
    return f"\ue000{name.upper()}\ue001"


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
