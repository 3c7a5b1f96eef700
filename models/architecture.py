"""What a port's config answers about its graph, whatever the graph is made of.

`VideoLLMConfig` answers for tower, connector and decoder of the LLaVA kind. A family with
modules of its own brings a config of its own with these methods, and nothing outside
`models` notices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from vidsme_jax.batch import Forward, VideoShape
from vidsme_jax.models.flops import ClipFlops, Share


@dataclass(frozen=True)
class Sizes:
    """The sizes that others plan with.

    Attributes:
        width: of the decoder's residual stream.
        mlp_width: inside the decoder's MLP.
        vocab: rows of the head, padding included.
        heads: query heads of the decoder, over which devices can divide.
        layers: of each stack whose loop a compiler counts once, by the name under which
            its parameters lie.
        frame: height and width that the tower takes, pixels.
    """

    width: int
    mlp_width: int
    vocab: int
    heads: int
    layers: dict[str, int]
    frame: tuple[int, int]


class Stages(NamedTuple):
    """The steps of a forward pass as functions of their own, to be timed apart.

    Attributes:
        vision: (params, pixels) -> embedded frames.
        decoder: (params, embedded frames, batch) -> hidden states of both ways.
        head: params -> the head that maps hidden states to logits.
    """

    vision: Callable[..., Any]
    decoder: Callable[..., Any]
    head: Callable[..., Any]


class CodeGrid(NamedTuple):
    """How the video positions of a frame lie over its pixels, for visual codes.

    Attributes:
        side: positions along a side of the frame.
        area: side of the square of pixels of one position.
    """

    side: int
    area: int


@runtime_checkable
class Architecture(Protocol):
    """A frozen dataclass that fixes a graph.

    Equal configs give the same functions, and so share their compiled programs.

    Attributes:
        vocab_keep: entries of the head that take part in the softmax; the rest is padding.
        mean: of pixel values in 0 to 1, per channel.
        std: their standard deviation.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def vocab_keep(self) -> int:
        """Entries of the head that take part in the softmax."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """Of pixel values in 0 to 1, per channel."""

    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of pixel values."""

    @property
    def abstract(self) -> dict[str, Any]:
        """Shapes of the parameters, nested dicts."""

    @property
    def sizes(self) -> Sizes:
        """Sizes to plan with."""

    @property
    def stages(self) -> Stages:
        """The steps of `forward`, apart."""

    @property
    def code_grid(self) -> CodeGrid | None:
        """Where visual codes stand; None where embeddings are no plain grid."""

    def video(self, frames: int) -> VideoShape:
        """Return how a clip of so many frames stands in the decoder's sequence."""

    def forward(self, natural_only: bool = False) -> Forward:
        """Return the pure function of parameters and batch; see `batch.Forward`.

        Args:
            natural_only: leave the other way out, for training.
        """

    def clip_flops(self, frames: int, time: int, rows: int, ways: int = 2) -> ClipFlops:
        """Return the operations that one clip cannot do without.

        Args:
            frames: of the clip.
            time: positions of the sequence, without padding.
            rows: positions whose distribution is scored.
            ways: directions that the decoder and the head run in.
        """

    def uncounted_flops(self, clips: int, frames: int, time: int, share: Share) -> int:
        """Return what attention does on a device beyond what its compiler counts.

        Args:
            clips: of a step and replica.
            frames: of each.
            time: positions of the padded sequence.
            share: which part of it the device does, and how.
        """
