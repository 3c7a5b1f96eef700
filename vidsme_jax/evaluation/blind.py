"""The blind baselines of a sample, beside its primary score on the same rows."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from vidsme_jax.evaluation.blind_features import Row, baselines
from vidsme_jax.evaluation.estimates import estimate
from vidsme_jax.evaluation.samples import Sample
from vidsme_jax.evaluation.score_metrics import difference, plain
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.stats.cross_validation import cross_validate
from vidsme_jax.stats.intervals import percentile

_PERMUTATIONS = 999  # a p-value of one baseline costs as much as those of all scores
_FEWEST = 5  # groups of a class that five folds can be made of
_ROWS = 2000  # beyond, a random choice of groups: kernels grow with the square


def evaluate_blind(
    sample: Sample,
    look: Callable[[Sample], Sequence[Row]],
    score: Float[np.ndarray, "row"] | None,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """Return how well the baselines tell members apart, and how much better the score does.

    Args:
        sample: the rows, with a label each.
        look: gives what is known of the rows of a sample, see `feature_rows`; of a very
            large one only those are asked for that are looked at.
        score: higher = member; None where there is none.
        settings: of the evaluation.

    Returns:
        `rows` looked at; `reason` where no baseline could be run, else None; `found`, by
        name: `auc` and its interval, `p_value`, `p_adjusted` (corrected for the number of
        baselines) and, with a score, `difference` (the score's AUC less this one) and its
        interval.
    """
    kept = _choice(sample.group, settings.seed)
    sample = sample.take(kept.tolist())
    groups = [
        len(np.unique(sample.group[side])) for side in (sample.member, ~sample.member)
    ]
    out: dict[str, Any] = {"rows": len(kept), "reason": None, "found": {}}
    if min(groups) < _FEWEST:
        return out | {"reason": f"a class has fewer than {_FEWEST} groups"}
    held = baselines(look(sample))
    if not held:
        return out | {"reason": "besides scores nothing is known in which the clips differ"}
    found = cross_validate(
        list(held.values()),
        sample.member,
        sample.unit,
        sample.group,
        min(settings.permutations, _PERMUTATIONS),
        settings.bootstrap,
        settings.seed,
    )
    ends = percentile(found.draws, settings.confidence)
    for n, name in enumerate(held):
        out["found"][name] = {
            "auc": plain(found.auc[n]),
            "auc_interval": [plain(side[n]) for side in ends],
            "p_value": plain(found.tested.p[n]),
            "p_adjusted": plain(found.tested.adjusted[n]),
        }
    if score is None:
        return out
    own = estimate(score[kept][None], sample.member, sample.unit, settings)
    for n, name in enumerate(held):
        less = (own.metrics.auc[0] - found.auc[n], own.draws[0] - found.draws[n])
        out["found"][name] |= difference(*less, settings)
    return out


def _choice(group, seed: int) -> Int[np.ndarray, "row"]:
    """Return the rows of as many random groups as hold no more rows than are affordable."""
    if len(group) <= _ROWS:
        return np.arange(len(group))
    _, place = np.unique(group, return_inverse=True)
    rank = np.random.default_rng(seed).permutation(place.max() + 1)[place]
    size = np.bincount(rank)
    return np.flatnonzero((np.cumsum(size) <= _ROWS)[rank])
