"""One file for each family of checkpoints, and the list of all families."""

from vidsme_jax.models.ports import (
    llava_llama,
    llava_next_video,
    llava_onevision,
    llava_video,
    longva,
    video_llava,
)

PORTS = (
    longva.SPEC,
    llava_video.SPEC,
    llava_next_video.SPEC,
    llava_llama.SPEC,
    llava_onevision.SPEC,
    video_llava.SPEC,
)
