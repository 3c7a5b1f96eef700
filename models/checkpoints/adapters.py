"""Merge a LoRA adapter of PEFT into a checkpoint's tensors while they are read.

The tensors decide which modules are adapted; the config only scales them. A folder has
adapter_config.json and adapter_model.safetensors, and after LLaVA's own training also the
retrained projector, as non_lora_trainables.safetensors.

With the update D = s B A of a kernel W (out, in), the merged kernel is W + D. DoRA scales
its rows to the norms m: m (W + D) / |W + D|. Source: PEFT 0.21.2; arXiv 2106.09685 (LoRA),
2312.03732 (rsLoRA: s = alpha / sqrt(rank)), 2402.09353 (DoRA).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError

from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.adapter_config import AdapterConfig, read_adapter_config
from vidsme_jax.models.checkpoints.fields import BOOKKEEPING, read_config
from vidsme_jax.models.checkpoints.files import FileTensor, equal_values, read_headers
from vidsme_jax.models.checkpoints.folders import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    LLAVA_WEIGHTS,
    check_files,
    examples,
    pickled_part,
)
from vidsme_jax.models.checkpoints.rules import (
    FLOATS,
    Names,
    Rule,
    Transform,
    rules_by_key,
)
from vidsme_jax.models.prompts.tokenizer import Tokenizer
from vidsme_jax.progress import say

_PREFIX = "base_model.model."
# The ends of the keys, the part that each is of an update, and whether of an embedding.
_PARTS = {
    ".lora_A.weight": ("A", False),
    ".lora_B.weight": ("B", False),
    ".lora_embedding_A": ("A", True),
    ".lora_embedding_B": ("B", True),
    ".lora_magnitude_vector": ("magnitude", None),
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")


@dataclass
class Update:
    """The low-rank update of a tensor.

    Attributes:
        module: name of the adapted module, as the adapter's file has it.
        parts: the tensors A [rank, in] and B [out, rank], and DoRA's magnitude.
        embeds: whether the module is an embedding, whose A has a column for each row of
            the table, and B a row for each feature.
        scale: factor of the product of A and B.
    """

    module: str
    parts: dict[str, FileTensor] = field(default_factory=dict)
    embeds: bool = False
    scale: float = 1.0

    @property
    def factors(
        self,
    ) -> tuple[Float[np.ndarray, "rows rank"], Float[np.ndarray, "rank columns"]]:
        """The two matrices whose product is the update, in the layout of the file."""
        a, b = (self.parts[name].read().astype(np.float32) for name in "AB")
        left, right = (a.T, b.T) if self.embeds else (b, a)
        return np.float32(self.scale) * left, right

    def merge(self, tensor: FileTensor, axis: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the merged pieces of a tensor, float32, each with the index of its start.

        Args:
            tensor: tensor of the base, or the tensor that replaces it.
            axis: axis of the file's tensor along which it is cut.
        """
        if "magnitude" not in self.parts:
            yield from self._add(tensor, axis)
            return
        along = 1 if self.embeds else 0  # of a kernel each row has a norm
        norms = [np.linalg.norm(p, axis=1 - along) for _, p in self._add(tensor, along)]
        magnitude = self.parts["magnitude"].read().astype(np.float32)
        scales = magnitude / np.concatenate(norms)
        for start, piece in self._add(tensor, axis):
            part = scales[start : start + piece.shape[along]] if axis == along else scales
            piece *= np.expand_dims(part, 1 - along)
            yield start, piece

    def _add(self, tensor: FileTensor, axis: int) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the pieces of a tensor with their parts of the update added."""
        left, right = self.factors
        for start, piece in tensor.pieces(axis):
            part = slice(start, start + piece.shape[axis])
            a, b = (left[part], right) if axis == 0 else (left, right[:, part])
            merged = piece.astype(np.float32)
            merged += a @ b  # in place: a piece may be large
            yield start, merged


@dataclass(frozen=True, eq=False)  # compared and hashed by identity
class Adapter:
    """A LoRA adapter, checked against the base that it is merged into.

    Attributes:
        directory: folder of the adapter.
        config: what its config says.
        files: its config and the files of its tensors.
        replacements: tensors that stand for the base's, by key of the rules.
        updates: low-rank updates of tensors, by key of the rules.
        vocab: rows of embedding and head.
        resized: whether the base has another number of them.
    """

    directory: Path
    config: AdapterConfig
    files: tuple[Path, ...]
    replacements: Mapping[str, FileTensor]
    updates: Mapping[str, Update]
    vocab: int
    resized: bool

    def pieces(
        self, key: str, tensor: FileTensor, axis: int
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the pieces of a tensor, merged, each with the index of its start.

        Args:
            key: key of the rules.
            tensor: tensor of the base, or the tensor that replaces it.
            axis: axis of the file's tensor along which it is cut.
        """
        update = self.updates.get(key)
        return update.merge(tensor, axis) if update else tensor.pieces(axis)

    def describe(self, model: Path) -> str:
        """Say what is merged into what, and how the adapter was trained.

        Args:
            model: path of the base's config.json.
        """
        folder = model.parent
        line = (
            f"adapter={self.directory}, trained on {self.config.base}, updates"
            f" {len(self.updates)} tensors of {folder} and replaces"
            f" {len(self.replacements)}"
        )
        name = Path(str(self.config.base)).name
        if name not in str(folder.resolve()):  # also of the hub's cache
            line += f"; warning: their names differ, make sure that {folder} is {name}"
        path = self.directory / "config.json"  # beside LLaVA's adapters
        beside = read_config(path) if path.is_file() else {}
        if self.config.is_of_quantised_base or beside.get("quantization_config"):
            line += "; it was trained on quantised weights, and these are the whole ones"
        base = read_config(model)
        other = [
            name
            for name, value in beside.items()
            if name in base.keys() - BOOKKEEPING and base[name] != value
        ]
        if other:
            line += f"; its config.json has another {examples(other)}: the base's are used"
        return line

    def read_tokenizer(self, base: Path) -> Tokenizer:
        """Read the folder's tokenizer where it has one that fits, else that of the base.

        Args:
            base: directory of the base.

        Raises:
            InputError: the vocabulary is another one, and no tokenizer fits it.
        """
        has_own = any((self.directory / name).is_file() for name in _TOKENIZER_FILES)
        fault = "has no tokenizer"
        if has_own:
            tokenizer = Tokenizer(self.directory, base)
            fault = f"has a tokenizer of {len(tokenizer)} ids, the model {self.vocab} rows"
            if len(tokenizer) <= self.vocab:
                say(f"adapter={self.directory}: its own tokenizer is used")
                return tokenizer
        if self.resized:
            raise InputError(
                f"adapter={self.directory} resizes the vocabulary to {self.vocab} rows and"
                f" {fault}: expected the tokenizer that it was trained with, beside it"
            )
        if has_own:
            say(f"adapter={self.directory} {fault}: the base's tokenizer is used")
        return Tokenizer(base)


@dataclass(frozen=True)
class Base:
    """What an adapter must fit: a model, as far as its config decides it.

    Attributes:
        rules: rules that say which tensor fills which parameter.
        names: names that the layout gives its tensors.
        shapes: shapes of the parameters, by path.
        vocab: rows of embedding and head.
    """

    rules: tuple[Rule, ...]
    names: Names
    shapes: Mapping[str, tuple[int, ...]]
    vocab: int

    @cached_property
    def rule_of(self) -> dict[str, Rule]:
        """The rule of every key of the rules."""
        rules = rules_by_key(self.rules, self.shapes)
        return {key: rule for key, (rule, _) in rules.items()}

    def shape(self, key: str) -> tuple[int, ...]:
        """Return the shape of the tensor of a key of the rules."""
        rule = self.rule_of[key]
        return rule.tensor_shape(self.shapes[rule.path])


def read_adapter(directory: Path, base: Base) -> Adapter:
    """Read an adapter's config and headers, and compare them with the base.

    Raises:
        InputError: no adapter, a pickle, or every fault of its tensors in a single line.
    """
    if not (directory / ADAPTER_CONFIG).is_file():
        there = "no folder" if not directory.is_dir() else f"without {ADAPTER_CONFIG}"
        inner = sorted(path.parent.name for path in directory.glob(f"*/{ADAPTER_CONFIG}"))
        hint = f"; there is {examples(inner)} in it" if inner else ""
        raise InputError(
            f"adapter={directory} is {there}, expected the folder of a PEFT adapter (a"
            f" whole checkpoint is --model's){hint}"
        )
    if fault := pickled_part(directory):
        raise InputError(f"adapter={directory}: {fault}")
    check_files(directory)
    config = read_adapter_config(directory / ADAPTER_CONFIG)
    files = [directory / ADAPTER_WEIGHTS]
    files += [p for p in (directory / LLAVA_WEIGHTS,) if p.is_file()]
    sorting = _Sorting(base, config)
    for path in files:
        try:
            tensors = read_headers(path)
        except (SafetensorError, OSError) as error:
            fault = "is not a whole safetensors file" if path.exists() else "is missing"
            raise InputError(f"{path} {fault}: {error}") from error
        for tensor in tensors:
            sorting.add(tensor)
    sorting.finish()
    if sorting.faults:
        raise InputError(
            f"adapter={directory}, trained on {config.base}, does not fit the model:"
            f" {'; '.join(sorting.fault_lines())}"
        )
    return Adapter(
        directory,
        config,
        (directory / ADAPTER_CONFIG, *files),
        sorting.replacements,
        sorting.updates,
        sorting.vocab,
        sorting.vocab != base.vocab,
    )


class _Sorting:
    """An adapter's tensors by what they do, and the faults among them."""

    def __init__(self, base: Base, config: AdapterConfig):
        self.base, self.config = base, config
        self.replacements: dict[str, FileTensor] = {}
        self.updates: dict[str, Update] = {}
        self.copies: dict[str, FileTensor] = {}
        self.faults: dict[str, list[str]] = defaultdict(list)
        self.vocab = base.vocab

    def fault_lines(self) -> list[str]:
        """Return a line for each kind of fault, with its count and examples."""
        return [f"{kind}: {examples(keys)}" for kind, keys in self.faults.items()]

    def add(self, tensor: FileTensor) -> None:
        """Take a tensor as a part of an update, or as a replacement."""
        name = tensor.key.removeprefix(_PREFIX)
        end = next((end for end in _PARTS if name.endswith(end)), None)
        module = name.removesuffix(end) if end else ""
        whole = f"{module}.weight" if end else name.replace(".base_layer.", ".")
        key = self.base.names.rule_key(whole)
        if tensor.dtype not in FLOATS:
            self.faults[f"tensors of type {tensor.dtype}"].append(tensor.key)
        elif key in dict(self.base.names.copies):
            self._add_copy(key, tensor, end)
        elif key not in self.base.rule_of:
            if not self.base.names.ignores(key):
                self.faults["tensors that have no place in it"].append(tensor.key)
        elif end is None:
            self._put(self.replacements, key, tensor)
        else:
            part, embeds = _PARTS[end]
            update = self.updates.setdefault(key, Update(module))
            update.embeds = update.embeds if embeds is None else embeds
            self._put(update.parts, part, tensor)

    def _put(self, tensors: dict[str, FileTensor], name: str, tensor: FileTensor) -> None:
        if name in tensors:
            self.faults["tensors that stand twice"].append(tensor.key)
        tensors[name] = tensor

    def _add_copy(self, key: str, tensor: FileTensor, end: str | None) -> None:
        """Take a tensor of the head that is tied to the embedding."""
        if end is None:
            self._put(self.copies, key, tensor)
        else:
            self.faults["updates of a head that is tied to the embedding"].append(
                tensor.key
            )

    def finish(self) -> None:
        """Compare what was taken with the base, and with itself."""
        for key, tensor in self.replacements.items():
            self._check_replacement(key, tensor)
        for key, update in self.updates.items():
            update.scale = self._check_update(key, update)
        for copy, original in self.base.names.copies:
            self._check_tied(copy, original)
        if not self.replacements and not self.updates and not self.faults:
            self.faults["it holds no tensor of the model"] = [ADAPTER_WEIGHTS]
        if self.vocab != self.base.vocab:
            self._check_vocab()

    def _check_replacement(self, key: str, tensor: FileTensor) -> None:
        """Compare shapes; the rows of embedding and head may be others."""
        shape, expected = tensor.shape, self.base.shape(key)
        if shape == expected:
            return
        is_table = len(shape) == 2 and expected == (self.base.vocab, *shape[1:])
        if is_table:
            self.vocab = shape[0]
        else:
            self._misshapen(tensor, expected)

    def _check_vocab(self) -> None:
        """Refuse a vocabulary resized in the embedding alone, or in the head alone."""
        for key in self.base.rule_of:
            shape = self.base.shape(key)
            if len(shape) == 2 and shape[0] == self.base.vocab:
                tensor = self.replacements.get(key)
                if tensor is None or tensor.shape[0] != self.vocab:
                    kind = f"a vocabulary of {self.vocab} instead of {self.base.vocab} rows"
                    self.faults[f"{kind}, but not in"].append(key)

    def _check_update(self, key: str, update: Update) -> float:
        """Compare an update's parts with the tensor that they update; return its scale."""
        parts, faults = update.parts, self.faults
        absent = {"A", "B"} - set(parts)
        if self.config.has_magnitudes:
            absent |= {"magnitude"} - set(parts)
        elif "magnitude" in parts:
            faults["magnitudes, though use_dora is false"].append(update.module)
        if absent:
            kind = f"updates without {' and '.join(sorted(absent))}"
            faults[kind].append(update.module)
            return 0.0
        transform = self.base.rule_of[key].transform
        needed = Transform.COPY if update.embeds else Transform.LINEAR
        shape = self._shape_of(key)
        if transform is not needed or len(shape) != 2:
            what = "an embedding" if update.embeds else "a linear layer"
            faults[f"updates of what is not {what}"].append(update.module)
            return 0.0
        rows, columns = shape[::-1] if update.embeds else shape
        rank = parts["A"].shape[0] if parts["A"].shape else 0
        expected = {"A": (rank, columns), "B": (rows, rank), "magnitude": (rows,)}
        for name, tensor in parts.items():
            if tensor.shape != expected[name]:
                self._misshapen(tensor, expected[name])
        if rank != self.config.rank_of(update.module):
            faults["ranks that the config does not say"].append(update.module)
        return self.config.scale_of(update.module, rank) if rank else 0.0

    def _shape_of(self, key: str) -> tuple[int, ...]:
        """Return the shape of a tensor before its update."""
        replaced = self.replacements.get(key)
        return replaced.shape if replaced else self.base.shape(key)

    def _check_tied(self, copy: str, original: str) -> None:
        """Refuse a head that would no longer be the embedding."""
        head, table = self.copies.get(copy), self.replacements.get(original)
        if original in self.updates:
            module = self.updates[original].module
            self.faults["updates of an embedding that the head is tied to"].append(module)
        if head is None and table is not None:
            kind = "an embedding replaced without the head that is tied to it"
            self.faults[kind].append(table.key)
        elif head is not None and not (table and equal_values(head, table)):
            kind = "a head unlike the embedding that it is tied to"
            self.faults[kind].append(head.key)

    def _misshapen(self, tensor: FileTensor, expected: tuple[int, ...]) -> None:
        kind = "tensors of another shape"
        line = f"{tensor.key} has {tensor.shape}, expected {expected}"
        self.faults[kind].append(line)
