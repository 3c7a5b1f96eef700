"""Prompts as token ids: the only import of transformers.

A prompt is a list of pieces, special tokens by name and plain text between them. Plain
text is encoded with special tokens switched off: a manifest that holds `<|im_end|>` asks
about these characters, and cannot end the user's turn.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from vidsme_jax.errors import InputError
from vidsme_jax.scoring import Prompt

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns where torch is absent


@dataclass(frozen=True)
class Special:
    """A special token of the template, by its text."""

    text: str


class Video:
    """The place of the video in a template."""


class Tokenizer:
    """A checkpoint's tokenizer, reduced to what prompts need."""

    def __init__(self, directory: Path):
        from transformers import AutoTokenizer

        try:
            loaded = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            self._fast = loaded.backend_tokenizer
        except Exception as error:  # its errors have no common type
            reason = " ".join(str(error).split())[:150] or type(error).__name__
            raise InputError(
                f"model={directory} has no tokenizer that transformers can load,"
                f" expected tokenizer.json and tokenizer_config.json: {reason}"
            ) from error
        self._fast.encode_special_tokens = True
        self._fast.no_truncation()
        self._fast.no_padding()

    def __len__(self) -> int:
        return self._fast.get_vocab_size(with_added_tokens=True)

    def special(self, text: str) -> int:
        """Return the id of a token by its exact text."""
        found = self._fast.token_to_id(text)
        if found is None:
            raise InputError(f"the tokenizer has no token {text!r}, which the prompt needs")
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text, special tokens not recognised."""
        return self._fast.encode(text, add_special_tokens=False).ids

    def prompt(self, pieces: list[str | Special | Video], answer: str) -> Prompt:
        """Encode the pieces around the video and the answer behind them."""
        sides: tuple[list[int], list[int]] = ([], [])
        side = 0
        for piece in pieces:
            if isinstance(piece, Video):
                side += 1
            elif isinstance(piece, Special):
                sides[side].append(self.special(piece.text))
            else:
                sides[side].extend(self.encode(piece))
        return Prompt(tuple(sides[0]), tuple(sides[1]), tuple(self.encode(answer)))
