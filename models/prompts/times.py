"""When the frames of a clip were taken, and how a prompt says so."""

from collections.abc import Sequence
from dataclasses import dataclass

from vidsme_jax.batch import Prompt


@dataclass(frozen=True)
class Times:
    """When the frames of a clip were taken, for the prompts that say so.

    Attributes:
        duration: of the clip, seconds.
        frames: of each sampled frame, seconds from the start.
    """

    duration: float
    frames: tuple[float, ...]


def say_times(times: Times | None) -> str:
    """Return the words in which LLaVA-Video was told when its frames were taken."""
    if times is None:
        return ""
    places = ",".join(f"{second:.2f}s" for second in times.frames)
    return (
        f"The video lasts for {times.duration:.2f} seconds, and {len(times.frames)} frames"
        f" are uniformly sampled from it. These frames are located at {places}."
    )


def frame_times(duration: float, fps: float, frame_indices: Sequence[int]) -> Times:
    """Return when the sampled frames of a clip were taken.

    Args:
        duration: of the clip, seconds.
        fps: frames per second of the clip.
        frame_indices: positions of the sampled frames in the clip.
    """
    return Times(duration, tuple(index / fps for index in frame_indices))


def excess(prompt: Prompt, max_text: int) -> str:
    """Say by how much question and answer are too long; "" where they are not."""
    length = len(prompt.after) + len(prompt.answer)
    if length <= max_text:
        return ""
    return f"{length} tokens of text, more than --max-text {max_text}"
