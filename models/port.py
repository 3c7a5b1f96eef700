"""The interface of a checkpoint directory: all that other rooms may ask about a model."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vidsme_jax.batch import Forward, Prompt, VideoShape
from vidsme_jax.errors import InputError
from vidsme_jax.models.architecture import Architecture, CodeGrid, Sizes, Stages
from vidsme_jax.models.checkpoints.adapters import Adapter
from vidsme_jax.models.checkpoints.fields import read_config
from vidsme_jax.models.checkpoints.files import weight_files
from vidsme_jax.models.checkpoints.loading import (
    check_checkpoint,
    load_params,
    read_unused,
    save_params,
)
from vidsme_jax.models.checkpoints.rules import Names, Rule
from vidsme_jax.models.flops import ClipFlops, Share
from vidsme_jax.models.processor import Processor
from vidsme_jax.models.prompts.template import Slot, Template
from vidsme_jax.models.prompts.times import Times, say_times
from vidsme_jax.models.prompts.tokenizer import Tokenizer
from vidsme_jax.models.prompts.visual_codes import CODES, code_token

Model = TypeVar("Model", bound="Graph")

# The files beside the weights that decide a model's numbers.
_TOKENIZER_FILES = (
    "added_tokens.json merges.txt special_tokens_map.json tokenizer.json tokenizer.model"
    " tokenizer_config.json vocab.json"
).split()
_IDENTITY_FILES = [
    *_TOKENIZER_FILES,
    *("chat_template.jinja", "chat_template.json", "config.json"),
    *("preprocessor_config.json", "processor_config.json"),
    "video_preprocessor_config.json",
]


@dataclass(frozen=True)
class Graph:
    """A model as far as its config.json alone decides it.

    Attributes:
        name: name of the port.
        path: path of the config.json.
        config: sizes and options of the model. The whole head and CLIP's pixels stand in
            it until a tokenizer and a processor say more. Only `models` looks into it.
        rules: rules that say which tensor of a checkpoint fills which parameter.
        names: names that the checkpoint's layout gives its tensors.
        adapter: adapter that is merged into the weights; None for the weights as they are.
    """

    name: str
    path: Path
    config: Architecture
    rules: tuple[Rule, ...]
    names: Names
    adapter: Adapter | None = field(default=None, kw_only=True)

    @property
    def directory(self) -> Path:
        """The directory of the checkpoint."""
        return self.path.parent

    def read_tokenizer(self) -> Tokenizer:
        """Read the adapter's tokenizer where it has one that fits, else the checkpoint's.

        Raises:
            InputError: none that can be loaded; an adapter with another vocabulary but
                without a tokenizer that fits.
        """
        if self.adapter is None:
            return Tokenizer(self.directory)
        return self.adapter.read_tokenizer(self.directory)

    @property
    def abstract(self) -> dict[str, Any]:
        """The shapes and types of the parameters, as nested dicts."""
        return self.config.abstract

    @property
    def sizes(self) -> Sizes:
        """The sizes from which placement and cost are planned."""
        return self.config.sizes

    @property
    def stages(self) -> Stages:
        """The steps of `forward` as separate functions."""
        return self.config.stages

    @property
    def vocab_keep(self) -> int:
        """The number of entries of the head in the softmax; the rest is padding."""
        return self.config.vocab_keep

    @property
    def forward(self) -> Forward:
        """The pure forward function of parameters and batch that scoring takes."""
        return self.config.forward()

    @property
    def train_forward(self) -> Forward:
        """The pure forward function of the natural way alone, for training."""
        return self.config.forward(natural_only=True)

    def whole_head(self: Model) -> Model:
        """Return the model with a softmax over all rows of the head, padding included."""
        return replace(self, config=replace(self.config, vocab_keep=self.sizes.vocab))

    def video(self, frames: int) -> VideoShape:
        """Return the layout of a clip of so many frames in the decoder's sequence.

        Raises:
            InputError: a number of frames that does not divide into the model's units.
        """
        shape = self.config.video(frames)
        if frames % shape.unit:
            raise InputError(
                f"frames={frames}: this model encodes {shape.unit} frames together,"
                f" expected a multiple of {shape.unit}"
            )
        return shape

    def clip_flops(self, frames: int, time: int, rows: int, ways: int = 2) -> ClipFlops:
        """Return the operations of a clip; see `Architecture.clip_flops`."""
        return self.config.clip_flops(frames, time, rows, ways)

    def uncounted_flops(self, clips: int, frames: int, time: int, share: Share) -> int:
        """Return operations not counted; see `Architecture.uncounted_flops`."""
        return self.config.uncounted_flops(clips, frames, time, share)


@dataclass(frozen=True)
class Port(Graph):
    """A checkpoint directory whose files are read, except for its weights.

    Attributes:
        processor: sizes and normalisation of the frames.
        template: template of the prompt.
        tokenizer: tokenizer of the checkpoint.
        video_token: text of the video's placeholder token; None where prompts have none.
        limit: positions after which the model's own code cuts its input; None for no cut.
        tower: folder of the vision tower's config; None where the checkpoint has none.
    """

    processor: Processor
    template: Template
    tokenizer: Tokenizer
    video_token: str | None = None
    limit: int | None = None
    tower: Path | None = None

    def __post_init__(self) -> None:
        """Refuse a processor, tower and pooling that do not fit each other."""
        crop, (height, width) = self.processor.crop, self.sizes.frame
        if (crop, crop) != (height, width):
            raise InputError(
                f"model={self.directory}: the processor makes {crop} pixels,"
                f" but the tower takes {height}"
            )
        if self.config.video(1).tokens_per_unit < 1:
            raise InputError(
                f"model={self.directory}: pooling leaves nothing of a frame of"
                f" {height} x {width} pixels"
            )

    def prompt(
        self,
        question: str,
        answer: str,
        system: str | None = None,
        times: Times | None = None,
        template: Template | None = None,
        history: Sequence[tuple[str, str]] = (),
    ) -> Prompt:
        """Return the token ids of a manifest row's prompt.

        Args:
            question: words of the user.
            answer: words of the response; "" for none.
            system: system message instead of the template's default.
            times: times of the frames; needed by a template that says them.
            template: template instead of the port's own.
            history: earlier turns, for a template that shows them.

        Raises:
            InputError: a system message for a template that has no place for it, or a
                token for which the model has no embedding.
        """
        template = (template or self.template).with_system(system)
        if system is not None and Slot.SYSTEM not in template.pieces:
            raise InputError(
                f"system={system[:40]!r}: the prompt of this model has no system message"
            )
        words = {
            Slot.SYSTEM: template.system,
            Slot.QUESTION: question,
            Slot.TIMES: say_times(times),
        }
        prompt = self.tokenizer.prompt(template, words, answer, self.video_token, history)
        ids = (*prompt.before, *prompt.after, *prompt.answer, *sum(prompt.gaps, ()))
        largest, rows = max(ids, default=0), self.sizes.vocab
        if largest >= rows:
            raise InputError(
                f"the prompt has token {self.tokenizer.token(largest)!r} of id {largest},"
                f" but the model has embeddings for {rows} tokens"
            )
        return prompt

    @property
    def end_of_turn(self) -> int:
        """The id of the token that ends an answer."""
        return self.tokenizer.special(self.template.end)

    def check_length(self, prompts: list[Prompt], frames: int) -> None:
        """Raise an InputError if a clip with its prompt is longer than the model takes."""
        texts = [
            len(p.before) + len(p.after) + len(p.answer) + sum(map(len, p.gaps))
            for p in prompts
        ]
        longest = self.video(frames).length + max(texts)
        if self.limit and longest > self.limit:
            raise InputError(
                f"frames={frames}: up to {longest} positions with the text, expected at"
                f" most {self.limit}, where the code of this model cuts its input"
            )

    def visual_codes(self) -> tuple[np.ndarray, CodeGrid]:
        """Return the token ids of the visual codes, and their grid over a frame.

        Raises:
            InputError: the tokenizer has no such tokens, or a frame's embeddings are no
                plain grid.
        """
        grid = self.config.code_grid
        if grid is None:
            raise InputError(
                f"objective=text+video: the embeddings of {self.name} are no plain grid"
            )
        ids = [self.tokenizer.special(code_token(n)) for n in range(CODES)]
        return np.array(ids, np.int32), grid

    def check_weights(self) -> None:
        """Compare the headers of the weights with the model.

        Raises:
            InputError: every fault of the weights, in a single line.
        """
        rules, names, abstract = self.rules, self.names, self.abstract
        check_checkpoint(self.directory, rules, names, abstract, self.adapter)

    def load(self, dtype: Any, place: Callable[..., Any]) -> dict[str, Any]:
        """Load the parameters onto their devices; see `loading.load_params`."""
        rules, names, abstract = self.rules, self.names, self.abstract
        return load_params(
            self.directory, rules, names, abstract, dtype, place, self.adapter
        )

    def save(self, path: Path, params: Any) -> None:
        """Write parameters, and the tensors that no rule takes, as a safetensors file."""
        unused, keys = read_unused(self.directory, self.rules, self.names, self.abstract)
        save_params(path, params, self.rules, unused, keys)

    def copy_vocabulary(self, directory: Path) -> None:
        """Write an adapter's tokenizer and size of the vocabulary over those of the base.

        Args:
            directory: a new checkpoint, with copies of the base's small files.
        """
        if self.adapter is None:
            return
        if self.tokenizer.directory == self.adapter.directory:
            for name in _TOKENIZER_FILES:
                (directory / name).unlink(missing_ok=True)
            for name in [*_TOKENIZER_FILES, "chat_template.jinja", "chat_template.json"]:
                if (self.adapter.directory / name).is_file():
                    shutil.copyfile(self.adapter.directory / name, directory / name)
        if self.adapter.resized:
            config = read_config(directory / "config.json")
            text = config.get("text_config", config)
            text["vocab_size"] = self.adapter.vocab
            (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    def fingerprint(self) -> str:
        """Return 16 hex digits that identify the bytes of configs, tokenizer and weights.

        Those of the adapter are among them. Other files of the directories do not change
        them.
        """
        folders = [self.directory, *([self.tower] if self.tower else [])]
        files = {folder / name for folder in folders for name in _IDENTITY_FILES}
        files |= set(self.directory.glob("additional_chat_templates/*.jinja"))
        paths = sorted(
            {p for p in files if p.is_file()} | set(weight_files(self.directory))
        )
        named = [(self._name_of(path), path) for path in paths]
        if self.adapter:
            paths = [*self.adapter.files]
            if self.tokenizer.directory == self.adapter.directory:
                files = {self.adapter.directory / name for name in _IDENTITY_FILES}
                paths += sorted({p for p in files if p.is_file()} - set(paths))
            named += [(f"adapter: {path.name}", path) for path in paths]
        digest = hashlib.sha256()
        for name, path in named:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{name} {content}\n".encode())
        return digest.hexdigest()[:16]

    def _name_of(self, path: Path) -> str:
        """Return the name of a file of the checkpoint, or of a tower's folder elsewhere."""
        inside = path.is_relative_to(self.directory)
        return str(path.relative_to(self.directory)) if inside else f"tower/{path.name}"


def complete_graph(
    graph: Graph,
    processor: Processor,
    template: Template,
    tokenizer: Tokenizer,
    **options: Any,
) -> Port:
    """Return the port of a graph, its processor, prompt template and tokenizer.

    Args:
        graph: graph of the config.
        processor: processor of the frames; its mean and deviation become the graph's.
        template: template of the prompt.
        tokenizer: tokenizer whose tokens alone take part in the softmax.
        options: the optional fields of `Port`.
    """
    config = replace(
        graph.config,
        vocab_keep=min(len(tokenizer), graph.sizes.vocab),
        mean=processor.mean,
        std=processor.std,
    )
    fields = vars(graph) | {"config": config}
    return Port(
        **fields, processor=processor, template=template, tokenizer=tokenizer, **options
    )


@dataclass(frozen=True)
class PortSpec:
    """A family of checkpoints and the functions that read them.

    Attributes:
        name: name of the port.
        checkpoints: names of released checkpoints, as a text for people.
        architecture: class name in `architectures` of config.json.
        matches: config -> whether the checkpoint is of this family.
        read: path of a config.json, names of unknown fields to ignore -> graph.
        open: graph -> port, with the files beside the config.
    """

    name: str
    checkpoints: str
    architecture: str
    matches: Callable[[dict[str, Any]], bool]
    read: Callable[[Path, tuple[str, ...]], Graph]
    open: Callable[[Graph], Port]
