"""The blind baselines of a sample, beside its primary score on the same rows."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from vidsme_jax.evaluation.estimates import (
    as_estimate,
    difference,
    estimate_metrics,
    plain,
)
from vidsme_jax.evaluation.facts import Facts
from vidsme_jax.evaluation.features import baselines
from vidsme_jax.evaluation.result import BlindMetrics, BlindResult
from vidsme_jax.evaluation.samples import Sample, labelled
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import Significance
from vidsme_jax.stats.cross_validation import BlindScores, GroupedLabels, cross_validate
from vidsme_jax.stats.intervals import percentile

_PERMUTATIONS = 999  # a p-value of one baseline costs as much as those of all scores
_FEWEST = 5  # groups of a class that five folds can be made of
_ROWS = 2000  # beyond, a random choice of groups: kernels grow with the square


def evaluate_blind(
    sample: Sample,
    read: Callable[[Sample], Facts],
    score: Float[np.ndarray, "row"] | None,
    settings: EvaluationSettings,
) -> BlindResult:
    """Return how well the baselines tell members apart, and how much better the score does.

    Args:
        sample: the rows, with a label each.
        read: gives what is known of the rows of a sample, see `read_facts`; of a very
            large one only the rows that are looked at are read.
        score: higher = member; None where there is none.
        settings: of the evaluation.
    """
    kept = _choice(sample.group, settings.seed)
    sample = sample.take(kept)
    groups = [
        len(np.unique(sample.group[side])) for side in (sample.member, ~sample.member)
    ]
    if min(groups) < _FEWEST:
        return BlindResult(len(kept), f"a class has fewer than {_FEWEST} groups", {})
    blocks = baselines(read(sample))
    if not blocks:
        reason = "besides scores nothing is known in which the clips differ"
        return BlindResult(len(kept), reason, {})
    scores = cross_validate(
        list(blocks.values()),
        GroupedLabels(sample.member, sample.cluster, sample.group),
        min(settings.permutations, _PERMUTATIONS),
        settings.bootstrap,
        settings.seed,
    )
    at_kept = None if score is None else score[kept]
    metrics = _blind_metrics(sample, scores, at_kept, settings)
    return BlindResult(len(kept), None, dict(zip(blocks, metrics, strict=True)))


def _blind_metrics(
    sample: Sample,
    scores: BlindScores,
    score: Float[np.ndarray, "row"] | None,
    settings: EvaluationSettings,
) -> list[BlindMetrics]:
    """Return each baseline's metrics, and the score's AUC less the baseline's."""
    low, high = percentile(scores.draws, settings.confidence)
    p, adjusted = scores.p_values
    primary = None
    if score is not None:
        primary = estimate_metrics(labelled(sample, score), settings)
    out = []
    for n, auc in enumerate(scores.auc):
        over = None
        if primary is not None:
            point = primary.metrics.auc[0] - auc
            over = difference(point, primary.draws[0] - scores.draws[n], settings)
        significance = Significance(plain(p[n]), plain(adjusted[n]))
        out.append(BlindMetrics(as_estimate(auc, low[n], high[n]), significance, over))
    return out


def _choice(group, seed: int) -> Int[np.ndarray, "row"]:
    """Return the rows of as many random groups as hold no more rows than are affordable."""
    if len(group) <= _ROWS:
        return np.arange(len(group))
    _, place = np.unique(group, return_inverse=True)
    rank = np.random.default_rng(seed).permutation(place.max() + 1)[place]
    size = np.bincount(rank)
    return np.flatnonzero((np.cumsum(size) <= _ROWS)[rank])
