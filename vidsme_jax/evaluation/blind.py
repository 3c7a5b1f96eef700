"""Evaluate the blind baselines of a sample, and compare its primary score with them."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from vidsme_jax.evaluation.estimates import (
    as_estimate,
    auc_difference,
    estimate_metrics,
    float_or_none,
)
from vidsme_jax.evaluation.facts import Facts
from vidsme_jax.evaluation.features import baselines
from vidsme_jax.evaluation.result import BlindMetrics, BlindResult
from vidsme_jax.evaluation.samples import Sample, labelled_scores
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.values import Significance
from vidsme_jax.stats.cross_validation import BlindScores, GroupedLabels, cross_validate
from vidsme_jax.stats.intervals import effective_clusters, percentile
from vidsme_jax.stats.metrics import LabelledScores
from vidsme_jax.stats.permutation import corrected_limit, detectable_areas

_PERMUTATIONS = 999  # at most: a baseline costs as much as all scores together
_FEWEST = 5  # groups of a class that five folds need
_ROWS = 2000  # at most, by a choice of groups: kernels grow with the square of the rows


def evaluate_blind(
    sample: Sample,
    read: Callable[[Sample], Facts],
    score: Float[np.ndarray, "row"] | None,
    settings: EvaluationSettings,
) -> BlindResult:
    """Return how well the baselines separate, and the score's AUC less theirs.

    Args:
        sample: rows, all with a label.
        read: sample -> facts of its rows, see `read_facts`; it is called with the rows
            that are used, which are fewer for a very large sample.
        score: primary score of each row, higher = member; None where there is none.
        settings: settings of the evaluation.
    """
    kept = _choose_rows(sample.group, settings.seed)
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
    """Return the metrics of each baseline, with the score's AUC less the baseline's."""
    no_values_missing = np.zeros((len(scores.auc), len(sample.ids)))
    rows = LabelledScores(no_values_missing, sample.member, sample.cluster)
    clusters = effective_clusters(rows)
    low, high = percentile(scores.draws, settings.confidence, *clusters)
    p_values = scores.p_values
    limit = corrected_limit(p_values.largest, 1 - settings.confidence)
    detectable = detectable_areas(p_values.spread, limit)
    primary = None
    if score is not None:
        primary = estimate_metrics(labelled_scores(sample, score), settings)
    out = []
    for n, auc in enumerate(scores.auc):
        over = None
        if primary is not None:
            point = primary.metrics.auc[0] - auc
            draws = primary.draws[0] - scores.draws[n]
            over = auc_difference(point, draws, primary.clusters_of(0), settings)
        of_baseline = (p_values.p[n], p_values.adjusted[n], detectable[n])
        significance = Significance(*map(float_or_none, of_baseline))
        out.append(BlindMetrics(as_estimate(auc, low[n], high[n]), significance, over))
    return out


def _choose_rows(group, seed: int) -> Int[np.ndarray, "row"]:
    """Return the rows of random groups, at most `_ROWS`; all rows where they are few."""
    if len(group) <= _ROWS:
        return np.arange(len(group))
    _, index = np.unique(group, return_inverse=True)
    rank = np.random.default_rng(seed).permutation(index.max() + 1)[index]
    size = np.bincount(rank)
    return np.flatnonzero((np.cumsum(size) <= _ROWS)[rank])
