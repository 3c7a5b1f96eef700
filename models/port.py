"""What a checkpoint directory is to the rest of the package."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vidsme_jax.batch import Prompt
from vidsme_jax.errors import InputError
from vidsme_jax.models.checkpoints.loading import (
    check_checkpoint,
    load_params,
    weight_files,
)
from vidsme_jax.models.checkpoints.rules import Names, Rule
from vidsme_jax.models.processor import Processor
from vidsme_jax.models.prompts.template import Slot, Template
from vidsme_jax.models.prompts.times import Times, say_times
from vidsme_jax.models.prompts.tokenizer import Tokenizer
from vidsme_jax.models.video_llm import VideoLLMConfig, graph_of, make_forward

# The files beside the weights that decide a model's numbers.
_READ = (
    "added_tokens.json chat_template.jinja chat_template.json config.json merges.txt"
    " preprocessor_config.json processor_config.json special_tokens_map.json tokenizer.json"
    " tokenizer.model tokenizer_config.json video_preprocessor_config.json vocab.json"
).split()


@dataclass(frozen=True)
class Graph:
    """What a config.json alone decides.

    Attributes:
        name: the port's.
        path: of the config.json.
        config: of the graph, with the whole head and CLIP's pixels until a tokenizer and a
            processor say more.
        rules: where the checkpoint's tensors go.
        names: which names of tensors a layout uses, and which are not needed.
    """

    name: str
    path: Path
    config: VideoLLMConfig
    rules: tuple[Rule, ...]
    names: Names

    @property
    def abstract(self) -> dict[str, Any]:
        """Shapes of the parameters, nested dicts."""
        return graph_of(self.config)[1]


@dataclass(frozen=True)
class Port:
    """A checkpoint directory, understood; its weights are not loaded yet.

    Attributes:
        directory: the checkpoint.
        name: the port's name.
        config: of the graph.
        processor: of the frames.
        rules: where the checkpoint's tensors go.
        names: which names of tensors a layout uses, and which are not needed.
        template: the prompt.
        tokenizer: the checkpoint's.
        video_token: placeholder of the video in text, None where text has none.
        limit: positions at which the model's own code cuts its input, None if it does not.
        tower: folder of the vision tower's config, where the checkpoint has one.
    """

    directory: Path
    name: str
    config: VideoLLMConfig
    processor: Processor
    rules: tuple[Rule, ...]
    names: Names
    template: Template
    tokenizer: Tokenizer
    video_token: str | None = None
    limit: int | None = None
    tower: Path | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not fit each other."""
        vision, connector = self.config.vision, self.config.connector
        if self.processor.crop != vision.image:
            raise InputError(
                f"model={self.directory}: the processor makes {self.processor.crop} pixels,"
                f" but the tower takes {vision.image}"
            )
        if connector.side(vision.grid) < 1:
            raise InputError(
                f"model={self.directory}: pooling by {connector.stride} leaves nothing of a"
                f" frame of {vision.grid} x {vision.grid} patches"
            )

    @property
    def forward(self) -> Callable[..., Any]:
        """The pure function of parameters and batch that scoring takes."""
        return make_forward(self.config)

    @property
    def abstract(self) -> dict[str, Any]:
        """Shapes of the parameters, nested dicts."""
        return graph_of(self.config)[1]

    def prompt(
        self,
        question: str,
        answer: str,
        system: str | None = None,
        times: Times | None = None,
        template: Template | None = None,
    ) -> Prompt:
        """Return the ids of one manifest row's prompt.

        Args:
            question: the user's words.
            answer: the response, or "".
            system: message instead of the template's default.
            times: of the frames; needed by a template that says them.
            template: instead of the port's own.

        Raises:
            InputError: a system message for a template that has no place for one; a token
                that the model has no embedding for.
        """
        template = (template or self.template).saying(system)
        if system is not None and Slot.SYSTEM not in template.pieces:
            raise InputError(
                f"system={system[:40]!r}: the prompt of this model has no system message"
            )
        words = {
            Slot.SYSTEM: template.system,
            Slot.QUESTION: question,
            Slot.TIMES: say_times(times),
        }
        prompt = self.tokenizer.prompt(template, words, answer, self.video_token)
        largest = max((max(ids) for ids in prompt if ids), default=0)
        rows = self.config.decoder.vocab
        if largest >= rows:
            raise InputError(
                f"the prompt has token {self.tokenizer.token(largest)!r} of id {largest},"
                f" but the model has embeddings for {rows} tokens"
            )
        return prompt

    def check_length(self, prompts: list[Prompt], frames: int) -> None:
        """Raise an InputError if a clip with its prompt is longer than the model takes."""
        texts = [len(p.before) + len(p.after) + len(p.answer) for p in prompts]
        longest = self.config.video_length(frames) + max(texts)
        if self.limit and longest > self.limit:
            raise InputError(
                f"frames={frames}: up to {longest} positions with the text, expected at"
                f" most {self.limit}, where the code of this model cuts its input"
            )

    def check_weights(self) -> None:
        """Raise an InputError that names every fault of the weights; reads headers only."""
        check_checkpoint(self.directory, self.rules, self.names, self.abstract)

    def load(self, dtype: Any, place: Callable[..., Any]) -> dict[str, Any]:
        """Read the weights into their placement; see `loading.load_params`."""
        return load_params(
            self.directory, self.rules, self.names, self.abstract, dtype, place
        )

    def fingerprint(self) -> str:
        """Return 16 hex digits over the bytes of configs, tokenizer and weights.

        Other files may come and go beside them.
        """
        folders = [self.directory, *([self.tower] if self.tower else [])]
        files = {folder / name for folder in folders for name in _READ}
        files |= set(self.directory.glob("additional_chat_templates/*.jinja"))
        out = hashlib.sha256()
        for path in sorted(
            {p for p in files if p.is_file()} | set(weight_files(self.directory))
        ):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            out.update(f"{path.relative_to(self.directory)} {content}\n".encode())
        return out.hexdigest()[:16]


def join(
    graph: Graph,
    processor: Processor,
    template: Template,
    tokenizer: Tokenizer,
    **further: Any,
) -> Port:
    """Return a port: its graph, and what the files beside the config say.

    Args:
        graph: from the config.
        processor: of the frames; its mean and deviation become the graph's.
        template: the prompt.
        tokenizer: its tokens alone take part in the softmax.
        further: other fields of `Port`.
    """
    config = replace(
        graph.config,
        vocab_keep=min(len(tokenizer), graph.config.decoder.vocab),
        mean=processor.mean,
        std=processor.std,
    )
    return Port(
        graph.path.parent,
        graph.name,
        config,
        processor,
        graph.rules,
        graph.names,
        template,
        tokenizer,
        **further,
    )
