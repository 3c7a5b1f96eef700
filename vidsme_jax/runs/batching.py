"""Form batches: rows that score alike are scored once, similar text lengths go together.

The model is causal: a row's scores depend on its clip and on the text up to the last token
that a slice asks for. With the video slice alone, all questions about a clip score alike.
"""

from collections.abc import Hashable, Sequence

from vidsme_jax.data.batches import drop_unscored_text, text_room
from vidsme_jax.runs.prompts import Prompts

Group = tuple[int, ...]  # rows that score alike
# Noted in the run: one whose batches were formed in another way is not continued.
BATCHING = "alike once, short texts first"


def make_batches(
    rows: Sequence[int],
    clips: Sequence[Hashable],
    prompts: Prompts,
    slices: Sequence[str],
    text_after: int,
    size: int,
) -> list[list[Group]]:
    """Return the groups of each batch; one empty batch where there are no rows.

    Groups with shorter texts come first, else in the order of their first rows. Then few
    batches take a larger shape for the sake of a few rows.

    Args:
        rows: numbers of the rows to score.
        clips: for each row of the manifests, a key of its clip and perturbation.
        prompts: of all rows of the manifests.
        slices: the slices that are scored.
        text_after: text tokens after the video that are scored whatever the slices.
        size: groups of a batch.
    """
    groups: dict[Hashable, list[int]] = {}
    lengths: dict[Hashable, int] = {}
    for n in rows:
        scored = [
            drop_unscored_text(longest[n], slices, text_after)
            for longest in prompts.longest.values()
        ]
        key = (clips[n], tuple(scored), n if n in prompts.refused else None)
        groups.setdefault(key, []).append(n)
        lengths[key] = max(len(p.after) + len(p.answer) for p in scored)
    keys = sorted(groups, key=lambda key: text_room(lengths[key]))
    ordered = [tuple(groups[key]) for key in keys]
    return [ordered[n : n + size] for n in range(0, max(len(ordered), 1), size)]
