"""The three prompts of the published Vid-SME scripts, byte for byte.

Source: prompt1, prompt2 and prompt3 of each published script. The third text for multiple
choice starts with `|im_end|>`, without `<`, and stays like that.
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


def published_question(name: str, stem: str, options: list[str]) -> str:
    """Return the question as a published script puts it into its prompt.

    Args:
        name: name of the prompt, a key of `PUBLISHED`.
        stem: the question without its options.
        options: candidates with their letters; captions have none.
    """
    if name == "caption":
        return stem
    return "\n".join([f"Question: {stem}", "Options:", *options]).rstrip()
