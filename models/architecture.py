"""The questions that every port's config answers about its model.

`VideoLLMConfig` answers them for models of the LLaVA kind: tower, connector and decoder. A
family with other modules brings its own config with these methods, and no code outside
`models` changes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from vidsme_jax.batch import Forward, VideoShape
from vidsme_jax.models.flops import ClipFlops, Share


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model from which placement and cost are planned.

    Attributes:
        width: features of the decoder's residual stream.
        mlp_width: features inside the decoder's MLP.
        vocab: rows of the head, padding included.
        heads: query heads of the decoder, which devices can share among them.
        layers: number of layers of each scanned stack, by the name of its parameters. A
            compiler counts the loop over a stack once.
        frame: height and width of the frames that the tower takes, pixels.
    """

    width: int
    mlp_width: int
    vocab: int
    heads: int
    layers: dict[str, int]
    frame: tuple[int, int]


class Stages(NamedTuple):
    """The steps of a forward pass as separate functions, to be timed one by one.

    Attributes:
        vision: (params, pixels) -> embedded frames.
        decoder: (params, embedded frames, batch) -> hidden states of both ways.
        head: params -> the head that maps hidden states to logits.
    """

    vision: Callable[..., Any]
    decoder: Callable[..., Any]
    head: Callable[..., Any]


class CodeGrid(NamedTuple):
    """The grid of video positions over the pixels of a frame, for visual codes.

    Attributes:
        side: number of positions along a side of the frame.
        area: side of the square of pixels that a position covers, pixels.
    """

    side: int
    area: int


@runtime_checkable
class Architecture(Protocol):
    """A frozen dataclass that decides a model's functions and parameter shapes.

    Equal configs give the same functions, and so share their compiled programs.

    Attributes:
        vocab_keep: entries of the head that take part in the softmax; the rest is padding.
        mean: mean of pixel values in 0 to 1, per channel.
        std: standard deviation of pixel values in 0 to 1, per channel.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def vocab_keep(self) -> int:
        """The number of entries of the head that take part in the softmax."""

    @property
    def mean(self) -> tuple[float, float, float]:
        """The mean of pixel values in 0 to 1, per channel."""

    @property
    def std(self) -> tuple[float, float, float]:
        """The standard deviation of pixel values in 0 to 1, per channel."""

    @property
    def abstract(self) -> dict[str, Any]:
        """The shapes and types of the parameters, as nested dicts."""

    @property
    def sizes(self) -> Sizes:
        """The sizes from which placement and cost are planned."""

    @property
    def stages(self) -> Stages:
        """The steps of `forward` as separate functions."""

    @property
    def code_grid(self) -> CodeGrid | None:
        """The grid of visual codes; None where a frame's embeddings are no plain grid."""

    def with_vocab(self, rows: int) -> "Architecture":
        """Return the config with another number of rows of embedding and head."""

    def video(self, frames: int) -> VideoShape:
        """Return the layout of a clip of so many frames in the decoder's sequence."""

    def forward(self, natural_only: bool = False) -> Forward:
        """Return the pure forward function of parameters and batch; see `batch.Forward`.

        Args:
            natural_only: whether to leave out the other way, for training.
        """

    def clip_flops(self, frames: int, time: int, rows: int, ways: int = 2) -> ClipFlops:
        """Return the floating-point operations that scoring a clip needs at least.

        Args:
            frames: number of frames of the clip.
            time: positions of the sequence, without padding.
            rows: positions whose distribution is scored.
            ways: frame orders that the decoder and the head run on, 1 or 2.
        """

    def uncounted_flops(self, clips: int, frames: int, time: int, share: Share) -> int:
        """Return the operations of attention on a device that its compiler does not count.

        Args:
            clips: number of clips that a replica takes in a step.
            frames: number of frames of a clip.
            time: positions of the padded sequence.
            share: what the device computes of the model, and with which attention.
        """
