"""Show all clips at once: each score in its rank, and the frames that carry it."""

from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from vidsme_jax.errors import shorten
from vidsme_jax.evaluation.result import ClipResult, Result, Verdict
from vidsme_jax.evaluation.samples import MEMBER, NON_MEMBER, UNLABELLED, Sample
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.verdicts import both_sets, outside_rows
from vidsme_jax.report.charts import ChartContext, clip_titles
from vidsme_jax.report.difference_map import ROWS, difference_figure
from vidsme_jax.report.page import Figure, Section
from vidsme_jax.report.ranking import STYLES, ClassShares, RankedClips, rank_figure
from vidsme_jax.report.svg import cut
from vidsme_jax.report.words.answers import titled
from vidsme_jax.report.words.formatting import listed, or_one
from vidsme_jax.report.words.verdicts import calls_hold
from vidsme_jax.scores import catalogue
from vidsme_jax.stats.metrics import allowed_false

_CLASSES = {MEMBER: "members", NON_MEMBER: "non-members", None: "no label"}
_USUAL = 0.05  # false positive rate, and p-value, that is marked first
_P_LEVELS = (0.05, 0.01, 0.1, 0.001, 0.5)  # the important first


class ShownClip(NamedTuple):
    """A clip of the figure of ranks.

    Attributes:
        value: its score, as in the table.
        name: what it is called.
        kind: its class, a key of `ranking.STYLES`.
        is_marked: whether its mark is filled.
    """

    value: float
    name: str
    kind: str
    is_marked: bool


def overview_section(contexts: list[ChartContext], result: Result) -> Section:
    """Return the section of all clips: their ranks, and the differences by frame."""
    drawn: list[Figure] = []
    notes, has_map, is_judged, is_elsewhere = [], False, False, False
    for context in contexts:
        clips = [clip for clip in context.report.frame.clips if clip.value is not None]
        if not clips:
            continue
        is_judged |= isinstance(context.report.frame.verdict, Verdict)
        drawn.append(_ranks(context, clips, result))
        figure = _map(context, clips, result)
        if figure is not None:
            drawn.append(figure)
            has_map = True
            is_elsewhere |= not str(context.report.frame.primary).startswith("video.")
        elif context.study.frames:  # from elsewhere nobody expects frames
            notes.append(_no_map(context))
    texts = [*_RANK_NOTES, *_JUDGED_NOTES * is_judged, *_MAP_NOTES * has_map, *notes]
    texts += [_ELSEWHERE] * is_elsewhere
    no_clips = "No clip has a primary score."
    paragraphs = tuple(texts) if drawn else (no_clips,)
    return Section("All clips", paragraphs=paragraphs, figures=tuple(drawn))


_RANK_NOTES = (
    "Every clip stands at its rank by the primary score. Below the axis a lane for each"
    " class shows where its clips are. Clips beyond a dashed line are those that would be"
    " called members at the named false positive rate (FPR).",
)
_JUDGED_NOTES = (
    "The axis on the right has the p-values of the judged clips. Their marks are filled"
    f" where p is at most {_USUAL:g}. Rates and p-values hold only where no warning stands"
    " above the answer.",
)
_MAP_NOTES = (
    "The map has a row for each clip, in the same order, and a column for each frame. Its"
    " colour is ΔS, the mean of sme over the positions of the frame. sme is the entropy in"
    " the natural order less that in the other one. Blue is the side on which members are"
    " expected. Where the score is the mean of sme, the top is bluer by construction. What"
    " counts is which class stands there, and which frames are blue."
    f" With more than {ROWS} clips a row is a mean of neighbours in rank.",
)


_ELSEWHERE = (
    "The primary score does not look at the video. Map, strips and curves show the video"
    " all the same: they do not explain that score, and may hold no trace."
)


def _no_map(context: ChartContext) -> str:
    """Return why a run has no map of its frames."""
    name, frames = shorten(context.report.run.name, 60), context.study.frames
    return (
        f"There is no map of the frames of run {name} at {frames} frames: it holds no"
        " curve of sme with values."
    )


def _ranks(context: ChartContext, clips: list[ClipResult], result: Result) -> Figure:
    """Draw the score of every clip, and of the reference, over its rank."""
    name = context.report.frame.primary
    assert name is not None  # clips have values
    is_higher = catalogue.higher_is_member(name)
    judged = _judged(context)
    rows = [_shown(clip, context, judged, result) for clip in clips]
    if judged and result.reference is not None:
        rows += _reference_rows(context, name, is_higher, result)
    rows.sort(key=lambda row: -row.value if is_higher else row.value)
    ranked = RankedClips(
        np.array([row.value for row in rows]),
        [row.name for row in rows],
        _classes([row.kind for row in rows]),
        np.array([row.is_marked for row in rows]),
    )
    title = titled(f"All clips by {name}", context.report)
    svg = rank_figure(
        title,
        cut(name, 40),
        ranked,
        _limits(context, name, is_higher, result.settings),
        _p_ticks(clips, is_higher) if _holds(context, result.settings) else [],
    )
    return Figure(f"{context.slug}-clips", title, svg)


def _judged(context: ChartContext) -> Collection[str]:
    """Return the ids of the judged clips."""
    verdict = context.report.frame.verdict
    return verdict.clips if isinstance(verdict, Verdict) else ()


def _holds(context: ChartContext, settings: EvaluationSettings) -> bool:
    """Tell whether rates and p-values of judged clips hold, or none were judged."""
    verdict = context.report.frame.verdict
    return not isinstance(verdict, Verdict) or calls_hold(verdict, settings)


def _classes(names: list[str]) -> ClassShares:
    """Return classes by index, in the order of the legend."""
    there = tuple(name for name in STYLES if name in names)
    return ClassShares(there, np.array([there.index(name) for name in names]))


def _shown(
    clip: ClipResult, context: ChartContext, judged: Collection[str], result: Result
) -> ShownClip:
    """Return a clip with its class; a mark is filled by a small p-value, or by label."""
    assert clip.value is not None
    kind, is_marked = _CLASSES[clip.label], clip.label == MEMBER
    if clip.id in judged and clip.verdict is not None:
        kind, is_marked = "to judge", or_one(clip.verdict.p_value) <= _USUAL
    elif clip.label == NON_MEMBER and judged and result.reference is None:
        kind = "reference"
    return ShownClip(clip.value, context.titles[clip.id], kind, is_marked)


def _reference_rows(
    context: ChartContext, name: str, is_higher: bool, result: Result
) -> Iterator[ShownClip]:
    """Yield the clips of the reference that the judged clips were compared with."""
    study = result.study.reference
    source = None if study is None else study.at(context.study.frames)
    outside = None if source is None else outside_rows(source, is_reference=True)
    if source is None or outside is None:
        return
    judged = context.study.scored.with_label(UNLABELLED, MEMBER)
    sample = both_sets(judged, outside).with_label(NON_MEMBER)
    titles = clip_titles(source.table)
    for clip, value in zip(sample.ids, sample.scores[name].tolist(), strict=True):
        if np.isfinite(value):
            value = value if is_higher else -value
            yield ShownClip(value, titles[clip], "reference", is_marked=False)


def _limits(
    context: ChartContext, name: str, is_higher: bool, settings: EvaluationSettings
) -> list[tuple[float, str]]:
    """Return the limit nearest to the usual rate, and the strictest, with their names."""
    verdict = context.report.frame.verdict
    if not _holds(context, settings):
        return []
    if isinstance(verdict, Verdict):
        averages = {rate: at.average.score for rate, at in verdict.limits.items()}
        limits = {rate: score for rate, score in averages.items() if score is not None}
    else:
        limits = label_limits(context.study.labelled, name, is_higher, settings)
    if not limits:
        return []
    usual = min(limits, key=lambda rate: abs(rate - _USUAL))
    out = []
    for score in dict.fromkeys((limits[usual], limits[min(limits)])):
        rates = [rate for rate in limits if limits[rate] == score]
        out.append((score, f"{listed([f'{100 * r:g}' for r in rates])} % FPR"))
    return out


def label_limits(
    sample: Sample, name: str, is_higher: bool, settings: EvaluationSettings
) -> dict[float, float]:
    """Return the score beyond which no more non-members lie than each rate allows."""
    values = sample.scores[name][sample.label == NON_MEMBER]
    values = np.sort(values[np.isfinite(values)])[::-1]
    size = np.array([float(len(values))])
    allowed = allowed_false(settings.fprs, size, settings.rule).astype(int).tolist()
    sign = 1 if is_higher else -1
    return {
        rate: float(sign * values[count])
        for rate, count in zip(settings.fprs, allowed, strict=True)
        if 0 <= count < len(values)
    }


def _p_ticks(clips: list[ClipResult], is_higher: bool) -> list[tuple[float, str]]:
    """Return the least member-like score of each p-value that is marked."""
    ticks = []
    for level in _P_LEVELS:
        reached = [
            clip.value
            for clip in clips
            if clip.verdict is not None and or_one(clip.verdict.p_value) <= level
            if clip.value is not None
        ]
        if reached:
            score = min(reached) if is_higher else max(reached)
            ticks.append((score, f"p ≤ {level:g}"))
    return ticks


def _map(context: ChartContext, clips: list[ClipResult], result: Result) -> Figure | None:
    """Draw the differences of all clips that have them; None without any."""
    rows = [clip for clip in clips if clip.id in context.differences]
    if not rows:
        return None
    judged = _judged(context)
    classes = _classes([_shown(clip, context, judged, result).kind for clip in rows])
    title = titled(
        f"ΔS by clip and frame, in order of {context.report.frame.primary}", context.report
    )
    values = np.stack([context.differences[clip.id] for clip in rows])
    svg = difference_figure(title, values, classes, catalogue.higher_is_member("sme"))
    return Figure(f"{context.slug}-differences", title, svg)
