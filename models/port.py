"""What a checkpoint directory is to the rest of the package."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vidsme_jax.errors import InputError
from vidsme_jax.loading import Rule, check_checkpoint, load_params, weight_files
from vidsme_jax.models.text import Special, Tokenizer, Video
from vidsme_jax.models.video_llm import VideoLLMConfig, graph_of, make_forward
from vidsme_jax.scoring import Prompt

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Processor:
    """What a CLIP image processor does.

    Attributes:
        size: the shortest edge is resized to this many pixels, bicubic.
        crop: side of the centre crop, pixels.
        mean: per channel, of values in 0 to 1.
        std: likewise.
    """

    size: int
    crop: int
    mean: tuple[float, float, float] = _CLIP_MEAN
    std: tuple[float, float, float] = _CLIP_STD


@dataclass(frozen=True)
class Port:
    """A checkpoint directory, understood; its weights are not loaded yet.

    Attributes:
        directory: the checkpoint.
        name: the port's name.
        config: of the graph.
        processor: of the frames.
        rules: where the checkpoint's tensors go.
        ignored: patterns of tensors that are known and not needed.
        template: pieces around question and video; template(system, question).
        system: the default system message.
        end_of_turn: the special token that ends an answer.
    """

    directory: Path
    name: str
    config: VideoLLMConfig
    processor: Processor
    rules: tuple[Rule, ...]
    ignored: tuple[str, ...]
    template: Callable[[str, str], list[str | Special | Video]]
    system: str
    end_of_turn: str

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded on first use."""
        return Tokenizer(self.directory)

    @property
    def forward(self) -> Callable[..., Any]:
        """The pure function of parameters and batch that scoring takes."""
        return make_forward(self.config)

    @property
    def abstract(self) -> dict[str, Any]:
        """Shapes of the parameters, nested dicts."""
        return graph_of(self.config)[1]

    def prompt(self, question: str, answer: str, system: str | None = None) -> Prompt:
        """Return the ids of one manifest row's prompt."""
        system = self.system if system is None else system
        return self.tokenizer.prompt(self.template(system, question), answer)

    def check_weights(self) -> None:
        """Raise an InputError that names every fault of the weights; reads headers only."""
        check_checkpoint(self.directory, self.rules, self.ignored, self.abstract)

    def load(self, dtype: Any, place: Callable[..., Any]) -> dict[str, Any]:
        """Read the weights into their placement; see `loading.load_params`."""
        return load_params(
            self.directory, self.rules, self.ignored, self.abstract, dtype, place
        )

    def fingerprint(self) -> str:
        """Return 16 hex digits over the bytes of configs, tokenizer and weights."""
        names = ("*.json", "*.txt", "*.model", "*.jinja")
        files = {p for name in names for p in self.directory.rglob(name)}
        out = hashlib.sha256()
        for path in sorted(files | set(weight_files(self.directory))):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            out.update(f"{path.relative_to(self.directory)} {content}\n".encode())
        return out.hexdigest()[:16]


def read_config(path: Path) -> dict[str, Any]:
    """Read a JSON object that configures a checkpoint."""
    try:
        config = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist, expected the checkpoint's config"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} holds no JSON object")
    return config


def read_processor(path: Path) -> Processor:
    """Read a preprocessor_config.json of the CLIP kind.

    Raises:
        InputError: it asks for steps that are not the CLIP processor's.
    """
    config = read_config(path)
    off = [
        step
        for step in ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
        if config.get(step) is False
    ]
    if off or config.get("resample", 3) != 3:
        raise InputError(
            f"{path} switches off {off} or bicubic resampling: not CLIP's steps"
        )
    size, crop = config.get("size", 224), config.get("crop_size", 224)
    try:
        return Processor(
            int(size["shortest_edge"] if isinstance(size, dict) else size),
            int(crop["height"] if isinstance(crop, dict) else crop),
            tuple(map(float, config.get("image_mean", _CLIP_MEAN))),  # type: ignore[arg-type]
            tuple(map(float, config.get("image_std", _CLIP_STD))),  # type: ignore[arg-type]
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a CLIP processor's config: {error!r}") from error


class Fields:
    """A config's fields, each read once; what was not read by name is refused."""

    def __init__(self, path: Path, ignored: frozenset[str]):
        self.path, self.ignored = path, ignored
        self.values = read_config(path)
        self.seen: set[str] = set()

    def get(self, name: str, kind: type, default: Any = None) -> Any:
        """Return a field of the expected type; without a default it is needed."""
        self.seen.add(name)
        value = self.values.get(name, default)
        if kind is float and isinstance(value, int):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise InputError(
                f"{self.path}: {name}={value!r}, expected a value of type {kind.__name__}"
            )
        return value

    def expect(self, name: str, allowed: tuple[Any, ...], default: Any = None) -> Any:
        """Return a field that must be one of the values this port implements."""
        self.seen.add(name)
        value = self.values.get(name, default)
        if value not in allowed:
            raise InputError(
                f"{self.path}: {name}={value!r}, this port has "
                f"{', '.join(map(repr, allowed))}"
            )
        return value

    def finish(self) -> None:
        """Refuse the fields that nobody read and nobody listed."""
        unknown = sorted(set(self.values) - self.seen - self.ignored)
        if unknown:
            raise InputError(
                f"{self.path} has fields this port does not know: {', '.join(unknown)}"
            )
