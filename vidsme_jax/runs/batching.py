"""Which rows make a batch: rows that score alike once, texts of about one length together.

The model is causal: a row's scores hang on its clip and on the text up to the last token
that a slice asks for. With the video slice alone, all questions about a clip are one.
"""

from collections.abc import Hashable, Sequence

from vidsme_jax.data.batches import drop_unscored_text, text_room
from vidsme_jax.runs.prompts import Prompts

Group = tuple[int, ...]  # rows that score alike
RULE = "alike once, short texts first"  # a run does not go on with batches made otherwise


def make_batches(
    rows: Sequence[int],
    clips: Sequence[Hashable],
    prompts: Prompts,
    slices: Sequence[str],
    text_after: int,
    size: int,
) -> list[list[Group]]:
    """Return the groups of each batch; one empty batch where there are no rows.

    Groups come in the order of their first rows, but those with shorter texts first: then
    few batches take a larger shape for the sake of a few rows.

    Args:
        rows: to be scored.
        clips: what tells the clip of each row of the manifests, and its perturbation.
        prompts: of all rows of the manifests.
        slices: that are scored.
        text_after: text tokens after the video that are scored whatever the slices.
        size: groups of a batch.
    """
    found: dict[Hashable, list[int]] = {}
    lengths: dict[Hashable, int] = {}
    for n in rows:
        shown = [
            drop_unscored_text(longest[n], slices, text_after)
            for longest in prompts.longest.values()
        ]
        alike = (clips[n], tuple(shown), n if n in prompts.refused else None)
        found.setdefault(alike, []).append(n)
        lengths[alike] = max(len(p.after) + len(p.answer) for p in shown)
    keys = sorted(found, key=lambda alike: text_room(lengths[alike]))
    groups = [tuple(found[alike]) for alike in keys]
    return [groups[n : n + size] for n in range(0, max(len(groups), 1), size)]
