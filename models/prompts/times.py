"""The times at which the frames of a clip were taken, and the words that say them."""

from collections.abc import Sequence
from dataclasses import dataclass

from vidsme_jax.batch import Prompt


@dataclass(frozen=True)
class Times:
    """The times at which the frames of a clip were taken, for prompts that say them.

    Attributes:
        duration: length of the clip, seconds.
        frames: time of each sampled frame, seconds from the start of the clip.
    """

    duration: float
    frames: tuple[float, ...]


def say_times(times: Times | None) -> str:
    """Return the sentence by which LLaVA-Video's prompt says its frames' times."""
    if times is None:
        return ""
    places = ",".join(f"{second:.2f}s" for second in times.frames)
    return (
        f"The video lasts for {times.duration:.2f} seconds, and {len(times.frames)} frames"
        f" are uniformly sampled from it. These frames are located at {places}."
    )


def frame_times(duration: float, fps: float, frame_indices: Sequence[int]) -> Times:
    """Return the times at which the sampled frames of a clip were taken.

    Args:
        duration: length of the clip, seconds.
        fps: frames per second of the clip.
        frame_indices: positions of the sampled frames in the clip, from 0.
    """
    return Times(duration, tuple(index / fps for index in frame_indices))


def excess(prompt: Prompt, max_text: int) -> str:
    """Return a sentence where the text after a video is too long; "" where it is not."""
    length = len(prompt.after) + len(prompt.answer)
    if length <= max_text:
        return ""
    return f"{length} tokens of text, more than --max-text {max_text}"
