"""The three prompts of the published Vid-SME scripts, byte for byte.

Source: the published code's prompt1, prompt2 and prompt3 of each script. Its third part
for multiple choice starts with `|im_end|>`, without `<`; that is kept.
"""

from vidsme_jax.models.prompts.template import Slot, Template

_LOOK = "Carefully watch this video and pay attention to every detail."
_CHOICE = Template(
    (
        f"<|im_start|>system\n{_LOOK} Based on your observations, select the best option"
        " that accurately addresses the question.<|im_end|>\n<|im_start|>user\n",
        *(Slot.VIDEO, "\n", Slot.QUESTION),
        "\nOnly give the best option.|im_end|>\n<|im_start|>assistant\nBest Option: ",
    )
)
_CAPTION = Template(
    (
        f"<|im_start|>system\n{_LOOK} Based on your observations, answer the given"
        " questions.<|im_end|>\n<|im_start|>user\n",
        *(Slot.VIDEO, "\n", Slot.QUESTION, "<|im_end|>\n<|im_start|>assistant\n"),
    )
)
PUBLISHED = {"cinepile": _CHOICE, "nextqa": _CHOICE, "caption": _CAPTION}


def published_question(name: str, asked: str, options: list[str]) -> str:
    """Return the words that a script puts into its prompt.

    Args:
        name: of `PUBLISHED`.
        asked: the question.
        options: candidates with their letters; captions have none.
    """
    if name == "caption":
        return asked
    return "\n".join([f"Question: {asked}", "Options:", *options]).rstrip()
