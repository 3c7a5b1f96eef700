"""Measure what each quirk of the published code does to a score.

    vidsme demo --out vidsme-demo
    python experiments/published_quirks.py --demo vidsme-demo

compares the published and the exact definitions, on rows of logits made for the purpose and
on the demo's members and non-members under its trained target. docs/internals/published.md
says what each quirk is.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.parquet as pq
from lab import publish
from safetensors.numpy import load_file, save_file
from scipy.stats import norm, rankdata, spearmanr

from vidsme_jax.data.batches import make_batch, make_layout
from vidsme_jax.data.clips import prepare_clips
from vidsme_jax.data.manifest import ManifestSettings
from vidsme_jax.data.readers.policy import read_clip
from vidsme_jax.data.synthetic.shapes import write_mp4
from vidsme_jax.runs.job import make_job
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.scores import catalogue, published
from vidsme_jax.scores.definition import Orders, ScoreRequest
from vidsme_jax.scores.entropy import renyi, sharma_mittal, split_top
from vidsme_jax.scores.orders import EntropyOrders
from vidsme_jax.scores.program import score_program
from vidsme_jax.stats.metrics import auc, measure, published_metrics, roc
from vidsme_jax.training.trial import FRAMES


@dataclass(frozen=True)
class Settings:
    """The settings of the experiment.

    Attributes:
        demo: directory of a finished `vidsme demo`.
        head: rows of Qwen2-7B's head, padding included.
        padding: rows added to the head of the demo's target.
        variants: fixed q and r, scored beside the adaptive ones.
        seed: seed of everything random.
    """

    demo: Path
    head: int = 152_064
    padding: int = 64
    variants: tuple[EntropyOrders, ...] = (
        EntropyOrders(q=1.0, r=1.0),
        EntropyOrders(q=1.0, r=1.05),
        EntropyOrders(q=1.0005, r=1.08),
        EntropyOrders(q=1.01, r=1.05),
        EntropyOrders(q=1.5, r=1.05),
        EntropyOrders(q=1.05, r=1.05),
    )
    seed: int = 0


# The published name, and the exact score that it stands for.
PAIRS = {
    "ppl": "logp.mean",
    "Min_0% Prob": "logp.min_0",
    "Min_10.0% Prob": "logp.min_10",
    "Modified_entropy": "mod_entropy.mean",
    "Modified_renyi_05": "mod_renyi_half.mean",
    "Modified_renyi_2": "mod_renyi_two.mean",
    "Max_Prob_Gap": "gap.mean",
    "Max_10.0% renyi_05": "renyi_half.max_10",
    "Max_100% renyi_05": "renyi_half.mean",
    "Max_100% renyi_1": "renyi_one.mean",
    "Max_100% renyi_2": "renyi_two.mean",
    "Max_100% renyi_inf": "renyi_inf.mean",
    "Mean_vetp": "sme.mean",
    "Min_0% vetp": "sme.min_0",
    "Min_5.0% vetp": "sme.min_5",
    "Min_10.0% vetp": "sme.min_10",
    "Min_30.0% vetp": "sme.min_30",
    "Min_60.0% vetp": "sme.min_60",
    "Min_90.0% vetp": "sme.min_90",
}


@dataclass(frozen=True)
class RunScores:
    """The scores of a finished run.

    Attributes:
        label: 1 for members, 0 for others [row].
        exact: columns of scores.parquet as float64 [row]; NaN where a row is not ok.
        published: columns of published.parquet as float64 [row], with the same NaN.
        out: directory of the run.
    """

    label: np.ndarray
    exact: dict[str, np.ndarray]
    published: dict[str, np.ndarray]
    out: Path

    def auc(self, name: str) -> float:
        """Return the AUC of a published name, members low."""
        return auc(-self.published[name], self.label)

    def exact_auc(self, name: str) -> float:
        """Return the AUC of a score of the video slice."""
        sign = 1 if catalogue.higher_is_member(f"video.{name}") else -1
        return auc(sign * self.exact[f"video.{name}"], self.label)


def make_row(size: int, top: float) -> np.ndarray:
    """Return log p of a row: `top`, and the rest from normal logits of deviation 4."""
    rest = np.exp(4 * norm.ppf((np.arange(1, size) - 0.5) / (size - 1)))
    p = np.append(top, (1 - top) * rest / rest.sum())
    return np.log(np.maximum(p, 1e-300)).astype(np.float32)


def differences(natural, reverse, q: float, r: float) -> tuple[float, float]:
    """Return the exact and the published entropy of a row minus those of another."""
    q1, r1 = jnp.float32(q - 1), jnp.float32(r - 1)
    rows = [split_top(jnp.asarray(z)) for z in (natural, reverse)]
    powers = [published.power_sums(row, q1) for row in rows]
    exact = [sharma_mittal(jnp.asarray(z), 1 + q1, 1 + r1) for z in (natural, reverse)]
    code = published.entropy_difference(*powers, q1, r1)
    return float(exact[0] - exact[1]), float(code)


def on_rows(settings: Settings) -> list[str]:
    """Measure quirks 1 to 4 and 11 on single rows."""
    sure, less = (make_row(settings.head, top) for top in (0.9, 0.5))
    lines = [f"rows of {settings.head} entries, natural p_1 = 0.9, reversed 0.5"]
    lines.append(f"{'':4}{'q':>8}{'r':>6}{'exact':>12}{'published':>12}")
    for quirk, q, r in (
        *(("1", 1.0, 1.0), ("", 1.05, 1.05), ("2", 1.0, 1.05), ("", 1.0, 1.1)),
        *(("3", 1.0001, 1.08), ("", 1.0005, 1.08), ("", 1.0007, 1.08)),
        *(("", 1.0009, 1.08), ("", 1.01, 1.08), ("", 1.1, 1.08), ("", 2.0, 1.08)),
    ):
        exact, code = differences(sure, less, q, r)
        lines.append(f"{quirk:4}{q:8g}{r:6g}{exact:12.5g}{code:12.5g}")
    lines += ["", "4   one-hot row, Rényi entropy of order q; exact is 0"]
    config = json.loads((settings.demo / "target" / "config.json").read_text())
    sizes = (settings.head, config["vocab_size"])
    row = {size: split_top(jnp.asarray(make_row(size, 1.0))) for size in sizes}
    for q in (0.5, 1.001, 1.01, 1.1, 1.5, 2.0):
        cells = []
        for size, split in row.items():
            log = published.power_sums(split, jnp.float32(q - 1)).log(jnp.float32(q - 1))
            cells.append(f"{float(log) / (1 - q):12.5g} ({size})")
        lines.append(f"    q = {q:<8g}" + "".join(cells))
    half = published.row_values(split_top(jnp.asarray(sure)), jnp.zeros(1, jnp.float32))
    exact = float(renyi(jnp.asarray(sure), 0.5))
    lines.append(f"    q = 0.5, p_1 = 0.9: exact {exact:.4f}, ")
    lines[-1] += f"published {float(half['renyi_half']):.4f}"
    tied = jnp.float32([2, 2, 1, 0])
    gap = published.row_values(split_top(tied), jnp.zeros(1, jnp.float32))["gap"]
    lines += ["", f"11  logits 2, 2, 1, 0: gap exact 0, published {float(gap):g}"]
    return lines


def run_scores(settings: Settings, model: Path, data, out: Path) -> RunScores:
    """Score manifests by both definitions, under every variant of q and r."""
    options = {"definitions": ("published",), "variants": settings.variants}
    score(
        ScoreSettings(
            model,
            data,
            out,
            (FRAMES,),
            manifests=ManifestSettings(settings.demo),
            **options,
        )
    )
    tables = [pq.read_table(out / f"{n}.parquet") for n in ("scores", "published")]
    label = np.array(tables[0]["label"].to_pylist())
    names = ("q", "r", "motion", *catalogue.columns())
    columns = [
        {n: t[n].to_numpy().astype(np.float64) for n in kept}
        for t, kept in zip(tables, (names, published.COLUMNS), strict=True)
    ]
    return RunScores(label, *columns, out)


def side_by_side(run: RunScores) -> list[str]:
    """Compare the AUC of both definitions."""
    lines = [f"{'published name':22}{'AUC':>7}   {'exact score':28}{'AUC':>7}"]
    for name, exact in PAIRS.items():
        left, right = run.auc(name), run.exact_auc(exact)
        lines.append(f"{name:22}{left:7.3f}   {'video.' + exact:28}{right:7.3f}")
    lines.append(f"{'sequence_vetp':22}{run.auc('sequence_vetp'):7.3f}")
    return lines


def on_orders(run: RunScores, settings: Settings) -> list[str]:
    """Measure quirks 1 to 4 on the demo: fixed orders, and its clip of q = 1."""
    lines = [f"{'q':18}{'r':18}{'exact AUC':>10}{'published':>10}{'rank corr.':>11}"]
    paths = (run.out / f"{n}-orders.parquet" for n in ("exact", "published"))
    tables = [pq.read_table(path) for path in paths]
    for variant in (EntropyOrders(), *settings.variants):
        values = []
        for table, name in zip(tables, ("video.sme.mean", "Mean_vetp"), strict=True):
            columns = (table[key].to_pylist() for key in ("q_rule", "r_rule"))
            keys = zip(*columns, strict=True)
            of_variant = np.array([key == (variant.q_key, variant.r_key) for key in keys])
            values.append(table[name].to_numpy()[of_variant].astype(np.float64))
        areas = [auc(-v, run.label) for v in values]
        rank = "   constant"
        if np.ptp(values[1]):
            rank = f"{float(spearmanr(*values).statistic):11.4f}"
        lines.append(
            f"{variant.q_key:18}{variant.r_key:18}{areas[0]:10.3f}{areas[1]:10.3f}{rank}"
        )
    q, r = run.exact["q"], run.exact["r"]
    first = int(np.argmin(q))
    both = run.exact["video.sme.mean"], run.published["Mean_vetp"]
    others = np.abs(both[0] - both[1])[np.arange(len(q)) != first]
    lines += [
        f"2   clips with q = 1: {np.sum(q == 1)} of {len(q)}; its r {r[first]:.4f}, exact"
        f" video.sme.mean {both[0][first]:.5f}, Mean_vetp {both[1][first]:.5f}",
        f"    all others: largest difference {others.max():.2g}, standard deviation"
        f" {both[0].std():.2g}",
        f"3   clips with q - 1 < (r - 1) / 100: {np.sum(q - 1 < (r - 1) / 100)}; the second"
        f" smallest q is {np.sort(q)[1]:.4f}, the median {np.median(q):.4f}",
    ]
    half = run.published["Max_100% renyi_05"] - run.exact["video.renyi_half.mean"]
    lines.append(
        f"4   Rényi 1/2, published minus exact: {half.min():.2g} to {half.max():.2g};"
        f" standard deviation of the score {run.exact['video.renyi_half.mean'].std():.2g}"
    )
    return lines


def on_names(run: RunScores) -> list[str]:
    """Measure quirks 5 and 8 on the demo: names that say the same, and the alignment."""
    code = run.published
    worst = max(
        np.abs(code[f"Min_{k}% Prob"] - code[f"Max_{k}% renyi_inf"]).max()
        for k in ("0", "5.0", "10.0", "30.0", "60.0", "90.0")
    )
    ppl = np.abs(np.log(code["ppl"]) - code["Max_100% renyi_inf"]).max()
    ranks = {tuple(rankdata(np.round(v, 6), "dense")) for v in code.values()}
    lines = [
        f"5   Min_K% Prob minus Max_K% renyi_inf, all K: at most {worst:.1g}; log ppl minus"
        f" Max_100% renyi_inf: {ppl:.1g}; AUC {run.auc('ppl'):.3f} and"
        f" {run.auc('Max_100% renyi_inf'):.3f}",
        f"    {len(code)} names, {len(ranks)} different orders of the clips",
    ]
    a, b = (run.exact[f"video.{name}.mean"] for name in ("sme", "sme_aligned"))
    mean = np.abs(a - b).max()
    lines.append(f"8   sme.mean minus sme_aligned.mean: at most {mean:.1g}")
    for k in ("mean", "min_5", "min_10", "min_30"):
        lines.append(
            f"    {k:8} AUC at the same position {run.exact_auc(f'sme.{k}'):.3f},"
            f" at the same frame {run.exact_auc(f'sme_aligned.{k}'):.3f}"
        )
    return lines


def on_the_row_after(run: RunScores, settings: Settings, data) -> list[str]:
    """Measure quirk 6, and the ties of quirk 11, on the logits themselves."""
    job = make_job(ScoreSettings(settings.demo / "target", data, run.out, (FRAMES,)))
    prompts, video = job.prompts.longest[FRAMES], job.port.video(FRAMES)
    clips = next(prepare_clips([[row.path for row in job.rows]], job.clip_spec))
    pixels = np.stack([clip.sample(FRAMES) for clip in clips])
    layout = make_layout(prompts, video, ("video",), 1)
    batch = jax.tree.map(jnp.asarray, make_batch(prompts, pixels, layout))
    here = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    params = job.port.load(jnp.float32, lambda spec, shape: here)
    forward = job.port.whole_head().forward
    q, r = (jnp.asarray(run.exact[n][:, None] - 1, jnp.float32) for n in ("q", "r"))
    orders = Orders(q, r)
    reducer = replace(published.PUBLISHED.reducer, rows=lambda batch: batch.masks[:, 0])
    video_alone = replace(published.PUBLISHED, reducer=reducer)

    def sequence_score(definition):
        program = jax.jit(score_program(forward, ScoreRequest((definition,), ("video",))))
        table = program(params, batch, orders).tables[definition.name]
        return np.asarray(table[:, -1], np.float64)

    with_row, without = map(sequence_score, (published.PUBLISHED, video_alone))
    hidden, head, *_ = forward(params, batch)
    z = np.asarray(head(hidden[:, 0]))[:, len(prompts[0].before) :][:, : video.length]
    ties = [_tied(z.astype(kind)) for kind in (np.float32, np.float16)]
    rank = spearmanr(with_row, without).statistic
    return [
        f"6   sequence_vetp over {video.length + 1} rows: AUC"
        f" {auc(-with_row, run.label):.3f}; over the {video.length} video rows"
        f" {auc(-without, run.label):.3f}; rank correlation {rank:.4f}, largest difference"
        f" {np.abs(with_row - without).max():.2g}, standard deviation {without.std():.2g}",
        f"11  rows whose two largest logits tie: {ties[0]} of {z[..., 0].size} in float32,"
        f" {ties[1]} rounded to float16",
        "    largest difference of Max_Prob_Gap and -video.gap.mean"
        f" {np.abs(run.published['Max_Prob_Gap'] + run.exact['video.gap.mean']).max():.1g}",
    ]


def _tied(z: np.ndarray) -> int:
    """Return how many rows have two equal largest logits."""
    ordered = np.sort(z, axis=-1)
    return int(np.sum(ordered[..., -1] == ordered[..., -2]))


def on_the_question(run: RunScores, settings: Settings, data, out: Path) -> list[str]:
    """Measure quirk 7: every clip with the next clip's question and answer."""
    moved = []
    for path in data:
        rows = json.loads(path.read_text())
        words = [{k: row[k] for k in ("question", "answer")} for row in rows]
        rows = [row | w for row, w in zip(rows, words[1:] + words[:1], strict=True)]
        moved.append(out / f"moved-{path.name}")
        moved[-1].write_text(json.dumps(rows))
    other = run_scores(settings, settings.demo / "target", tuple(moved), out / "moved")
    plain = max(np.abs(other.published[n] - v).max() for n, v in run.published.items())
    name = "instruction.sme.mean"
    text = np.abs(other.exact[name] - run.exact[name]).max()
    return [
        "7   every clip with another clip's question and answer: largest change of the"
        f" {len(run.published)} published numbers {plain:.1g}, of {name} {text:.2g}"
    ]


def on_the_set(run: RunScores, settings: Settings, data, out: Path) -> list[str]:
    """Measure quirk 9: the fastest clip, four times as large, joins the set."""
    fast = int(np.argmax(run.exact["motion"]))
    video = [row["video"] for path in data for row in json.loads(path.read_text())][fast]
    frames = read_clip(settings.demo / video, (FRAMES,)).sample(2 * FRAMES)
    clip, extra = out / "large.mp4", out / "large.json"
    write_mp4(clip, frames.repeat(4, axis=1).repeat(4, axis=2), 8.0)
    row = {"question": "What?", "answer": "a", "label": 0}
    extra.write_text(json.dumps([row | {"video": str(clip.relative_to(settings.demo))}]))
    target = settings.demo / "target"
    other = run_scores(settings, target, (*data, extra), out / "larger")
    before, after = run.exact["motion"].max(), other.exact["motion"][-1]
    lines = [f"9   largest motion {before:.4g}, of the added clip {after:.4g}"]
    kept = slice(0, len(run.label))
    for name in ("q", "r"):
        a, b = run.exact[name], other.exact[name][kept]
        lines.append(
            f"    {name}: median {np.median(a):.4f} before, {np.median(b):.4f} after;"
            f" moved by up to {np.abs(a - b).max():.3f}"
        )
    first = run.exact["q"] == 1
    for name in ("sme.mean", "sme.min_10"):
        a, b = (s.exact[f"video.{name}"][kept] for s in (run, other))
        move = np.abs(a - b)[~first] / a.std()
        areas = f"{run.exact_auc(name):.3f}, then {auc(-b, run.label):.3f}"
        lines.append(
            f"    video.{name}: AUC {areas} on the same clips; rank correlation"
            f" {spearmanr(a, b).statistic:.4f}; without the clip of q = 1 moved by"
            f" {np.median(move):.2g} standard deviations (median), up to {move.max():.2g}"
        )
    for name in ("Mean_vetp", "Min_10.0% vetp"):
        after = auc(-other.published[name][kept], run.label)
        lines.append(f"    {name}: AUC {run.auc(name):.3f} before, {after:.3f} after")
    return lines


def on_the_padding(run: RunScores, settings: Settings, data, out: Path) -> list[str]:
    """Measure quirk 10: the trained target, padding rows of random numbers added."""
    model = out / "padded"
    shutil.copytree(settings.demo / "target", model)
    weights = load_file(model / "model.safetensors")
    rng = np.random.default_rng(settings.seed)
    random = load_file(settings.demo / "random" / "model.safetensors")
    for name in ("lm_head.weight", "model.embed_tokens.weight"):
        shape = (settings.padding, weights[name].shape[1])
        rows = rng.normal(0, random[name].std(), shape).astype(np.float32)
        weights[name] = np.concatenate([weights[name], rows])
    save_file(weights, model / "model.safetensors")
    config = json.loads((model / "config.json").read_text())
    tokens = config["vocab_size"]
    config["vocab_size"] = tokens + settings.padding
    (model / "config.json").write_text(json.dumps(config))
    other = run_scores(settings, model, data, out / "padding")
    exact = max(np.nanmax(np.abs(v - run.exact[n])) for n, v in other.exact.items())
    lines = [
        f"10  {tokens} tokens, {settings.padding} rows of padding: exact scores change"
        f" by up to {exact:.1g}"
    ]
    for name in ("Mean_vetp", "Min_10.0% vetp", "Max_100% renyi_05", "ppl"):
        a, b = run.published[name], other.published[name]
        lines.append(
            f"    {name}: AUC {run.auc(name):.3f} without, {other.auc(name):.3f} with;"
            f" mean {a.mean():.4f} and {b.mean():.4f}, changed by up to"
            f" {np.abs(a - b).max() / a.std():.2g} standard deviations"
        )
    return lines


def on_metrics(run: RunScores, settings: Settings) -> list[str]:
    """Measure quirk 12: the published metrics against ours."""
    lines = [f"12  {'published, ours':20}{'TPR':>8}{'accuracy':>11}{'TPR':>8}{'best':>7}"]
    pairs = np.repeat(np.arange(100.0), 2), np.tile([1, 0], 100)
    cases = {n: (-run.published[n], run.label) for n in ("Mean_vetp", "Min_10.0% vetp")}
    for name, case in (cases | {"100 ties of two": pairs}).items():
        theirs, ours = published_metrics(*case), measure(*case, (0.05,))
        lines.append(
            f"    {name:20}{theirs['tpr_below_5']:8.3f}{theirs['accuracy']:11.3f}"
            f"{float(ours.tpr[0]):8.3f}{float(ours.balanced_accuracy):7.3f}"
        )
    rng = np.random.default_rng(settings.seed)
    for name, case in cases.items():
        accuracy = np.mean([_held_out_accuracy(rng, *case) for _ in range(500)])
        lines.append(f"    {name}, threshold of one half on the other: {accuracy:.3f}")
    for count in (64, 502):
        label = np.tile([1, 0], count)
        noise = [published_metrics(rng.normal(size=2 * count), label) for _ in range(500)]
        mean = {k: np.mean([metrics[k] for metrics in noise]) for k in noise[0]}
        lines.append(
            f"    noise, {count} a side, mean of 500: accuracy {mean['accuracy']:.3f},"
            f" AUC {mean['auc']:.3f}, TPR {mean['tpr_below_5']:.3f}"
        )
    return lines


def _held_out_accuracy(rng, scores, label) -> float:
    """Return balanced accuracy on a half, with the threshold chosen on the other half."""
    first = rng.permutation(len(label)) < len(label) // 2
    fpr, tpr, thresholds = roc(scores[first], label[first])
    called = scores[~first] >= thresholds[np.argmax(tpr - fpr)]
    rates = [np.mean(called[label[~first] == n] == n) for n in (0, 1)]
    return float(np.mean(rates))


def main() -> None:
    """Measure, print and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, required=True, help="a finished vidsme demo")
    publish(__file__, measured(Settings(parser.parse_args().demo)))


def measured(settings: Settings) -> Iterator[str]:
    """Yield the lines of all quirks, each as soon as it is measured."""
    yield from on_rows(settings)
    data = tuple(settings.demo / f"{third}.json" for third in "AB")
    with tempfile.TemporaryDirectory(dir=settings.demo) as folder:
        out = Path(folder)
        run = run_scores(settings, settings.demo / "target", data, out / "run")
        for lines in (
            side_by_side(run),
            on_orders(run, settings),
            on_names(run),
            on_the_row_after(run, settings, data),
            on_the_question(run, settings, data, out),
            on_the_set(run, settings, data, out),
            on_the_padding(run, settings, data, out),
            on_metrics(run, settings),
        ):
            yield from ("", *lines)


if __name__ == "__main__":
    main()
