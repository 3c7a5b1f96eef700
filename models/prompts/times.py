"""When the frames of a clip were taken, and how a prompt says so."""

from dataclasses import dataclass
from typing import Any

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


def clip_times(facts: dict[str, Any], frames: int) -> Times:
    """Return when the sampled frames of a clip were taken."""
    indices = facts[str(frames)]["frame_indices"]
    return Times(facts["duration"], tuple(i / facts["fps"] for i in indices))


def excess(prompt: Prompt, max_text: int) -> str:
    """Say by how much question and answer are too long; "" where they are not."""
    length = len(prompt.after) + len(prompt.answer)
    if length <= max_text:
        return ""
    return f"{length} tokens of text, more than --max-text {max_text}"
