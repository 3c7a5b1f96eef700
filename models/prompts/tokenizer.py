"""Encode prompts as token ids; nothing else imports transformers.

A prompt is a template with filled slots. Special tokens are recognised in the template's
text only: a manifest that holds `<|im_end|>` asks about these characters, and cannot end
the user's turn. Without such texts the ids are those of the whole prompt encoded at once.
"""

import os
import re
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from vidsme_jax.batch import Prompt
from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.prompts.bounded import TemplateRenderer, tokenizer_trial
from vidsme_jax.models.prompts.chat_template import find_chat_template
from vidsme_jax.models.prompts.template import Slot, Template, Text

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns where torch is absent
# Fields of tokenizer_config.json that name a file to load.
_FILE_FIELDS = ("tokenizer_file", "vocab_file", "merges_file", "spm_file")


class Tokenizer:
    """A checkpoint's tokenizer, reduced to what prompts need.

    Args:
        directory: the checkpoint, or an adapter's folder.
        base: of an adapter, the checkpoint whose chat template stands in for none there.
    """

    def __init__(self, directory: Path, base: Path | None = None):
        self.directory, self.base = directory, base
        with tokenizer_trial(directory):
            from transformers import AutoTokenizer
        try:
            # transformers also reads the config, and warns about it.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = AutoTokenizer.from_pretrained(
                    directory,
                    local_files_only=True,
                    trust_remote_code=False,
                    **_files_inside(directory),
                )
            self._loaded, self._fast = loaded, loaded.backend_tokenizer
        except InputError:
            raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # of no common type; a panic is no Exception
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
        ids = self._fast.get_vocab(with_added_tokens=True).values()
        if not ids:
            raise InputError(f"model={self.directory}: its tokenizer has no tokens")
        return max(ids) + 1

    @cached_property
    def _specials(self) -> tuple[str, ...]:
        added = self._fast.get_added_tokens_decoder().values()
        return tuple(token.content for token in added if token.special)

    def has(self, text: str) -> bool:
        """Return whether a token has exactly this text."""
        return self._fast.token_to_id(text) is not None

    def token(self, number: int) -> str | None:
        """Return the text of a token; None for an id without a token."""
        added = self._fast.get_added_tokens_decoder().get(number)
        if added is not None:
            return added.content
        return self._fast.id_to_token(number) if 0 <= number < len(self) else None

    def is_added(self, number: int) -> bool:
        """Return whether a token was added to the vocabulary, as placeholders are."""
        return number in self._fast.get_added_tokens_decoder()

    def special(self, text: str) -> int:
        """Return the id of a token by its exact text."""
        number = self._fast.token_to_id(text)
        if number is None:
            raise InputError(f"the tokenizer has no token {text!r}, which the prompt needs")
        return number

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text, in which no special token is recognised."""
        self._fast.encode_special_tokens = True
        return self._ids(text)

    def prompt(
        self,
        template: Template,
        words: Mapping[Slot, str],
        answer: str,
        video: str | None,
        history: Sequence[tuple[str, str]] = (),
    ) -> Prompt:
        """Return the token ids of a template with its slots filled.

        Args:
            template: the template of the prompt.
            words: text of every slot but the video's.
            answer: text that follows the prompt; "" for none.
            video: text of the video's placeholder token. None encodes the texts before
                and after the video separately.
            history: earlier turns, each a question and its answer.
        """
        _refuse_invalid_unicode([*words.values(), answer, *sum(history, ())])
        texts = template.fill(words, history)
        before, after = self._sides(texts, video)
        if not answer:
            return Prompt(tuple(before), tuple(after), ())
        answered = [*texts, Text(template.lead, True), Text(answer, False)]
        _, after_and_answer = self._sides(answered, video)
        if after_and_answer[: len(after)] == after:
            answer_ids = after_and_answer[len(after) :]
        else:  # prompt and answer would merge into one token: keep the prompt as it is
            answer_ids = self.encode(answer)
        return Prompt(tuple(before), tuple(after), tuple(answer_ids))

    def _sides(self, texts: list[Text | None], video: str | None) -> list[list[int]]:
        """Return the ids before and after the video; None in `texts` marks the video."""
        at = texts.index(None)
        sides = [[t for t in side if t] for side in (texts[:at], texts[at + 1 :])]
        special = _finder((*self._specials, video) if video else self._specials)
        if any(special.search(t.text) for t in texts if t and not t.trusted):
            # Special tokens in a manifest's words stay plain text.
            front = self._front("".join(t.text for t in sides[0][:1] if t.trusted))
            return [
                front + self._encode_apart(sides[0], special),
                self._encode_apart(sides[1], special),
            ]
        before, after = ("".join(t.text for t in side) for side in sides)
        self._fast.encode_special_tokens = False
        if video is None:
            return [self._front(before) + self._ids(before), self._ids(after)]
        ids = self._front(before) + self._ids(before + video + after)
        place = ids.index(self.special(video))
        return [ids[:place], ids[place + 1 :]]

    def _front(self, text: str) -> list[int]:
        """Return the ids that the tokenizer puts before a text without a start token."""
        bos = self._loaded.bos_token
        return [] if bos and text.startswith(bos) else self._start_ids

    @cached_property
    def _start_ids(self) -> list[int]:
        bare, whole = (self._ids("x", added) for added in (False, True))
        starts = (n for n in range(len(whole)) if whole[n : n + len(bare)] == bare)
        at = next(starts, None)
        if at is None:
            raise InputError(
                f"model={self.directory}: its tokenizer makes {len(whole)} tokens of a"
                " letter, expected the letter's among them"
            )
        return whole[:at]

    def _ids(self, text: str, added: bool = False) -> list[int]:
        """Return the ids of a text, with those that the tokenizer adds or without.

        Raises:
            InputError: the tokenizer fails on it; its library in Rust panics then.
        """
        try:
            return self._fast.encode(text, add_special_tokens=added).ids
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise InputError(
                f"model={self.directory}: its tokenizer fails on the text {text[:40]!r}:"
                f" {str(error)[:150]}"
            ) from error

    def _encode_apart(self, texts: list[Text], special: re.Pattern[str]) -> list[int]:
        """Encode the stretches between the special tokens of trusted texts one by one."""
        ids, pending = [], ""
        for piece in texts:
            at = 0
            for match in special.finditer(piece.text) if piece.trusted else ():
                ids += self.encode(pending + piece.text[at : match.start()])
                ids.append(self.special(match.group()))
                pending, at = "", match.end()
            pending += piece.text[at:]
        return ids + self.encode(pending)

    def chat_template(self, video: str) -> Template | None:
        """Return the checkpoint's own chat template; see `find_chat_template`."""
        source, end = self._loaded.chat_template, self._loaded.eos_token or ""
        folders = [self.directory, *([self.base] if self.base else [])]
        render = TemplateRenderer(self.directory, self._loaded.special_tokens_map)
        try:
            return find_chat_template(folders, source, render, end, video)
        finally:
            render.close()


def _files_inside(directory: Path) -> dict[str, str]:
    """Return the files that a tokenizer's config names, as those of its own folder.

    Versions of transformers before 5.24 open what the config names, wherever it lies.

    Raises:
        InputError: the folder has no such file.
    """
    path = directory / "tokenizer_config.json"
    config = read_config(path) if path.is_file() else {}
    names = {k: config[k] for k in _FILE_FIELDS if isinstance(config.get(k), str)}
    several = config.get("fast_tokenizer_files")
    listed = several if isinstance(several, list) else []
    outside = [name for name in listed if Path(str(name)).name != name]
    files = {k: directory / Path(name).name for k, name in names.items()}
    outside += [names[k] for k, file in files.items() if not file.is_file()]
    if outside:
        raise InputError(
            f"{path} names the file {str(outside[0])!r:.100}, expected one beside it"
        )
    return {k: str(file) for k, file in files.items()}


@lru_cache
def _finder(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return a pattern that matches any of the words, longer words first."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


def _refuse_invalid_unicode(texts: list[str]) -> None:
    """Refuse texts with lone surrogates, which no tokenizer can encode."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise InputError(f"text={text[:40]!r} is not valid Unicode") from None
