"""Measure how often blind baselines reject, on random splits and on shifted sets.

    python experiments/checks/blind_rates.py --out rates --seeds 20

Each seed writes the demo's clips, splits them as the demo does (64 against 64), scores them
under a model with random weights, and evaluates. No clip was trained on, and a random split
makes the sets alike: the baselines, corrected for their number, should reject at 5 % in one
of 20 seeds. `--deals` labels the same clips anew, at random, that many times a seed, for a
more exact rate. `--shift` makes the non-members clips of another kind instead.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from vidsme_jax.data.synthetic.shapes import KINDS, write_clips
from vidsme_jax.evaluation.blind import evaluate_blind
from vidsme_jax.evaluation.evaluate import evaluate_study, read
from vidsme_jax.evaluation.facts import read_facts
from vidsme_jax.evaluation.features import COLUMNS
from vidsme_jax.evaluation.result import Result
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import make_study
from vidsme_jax.report.words import answers
from vidsme_jax.runs.score import ScoreSettings, score
from vidsme_jax.training.trial import FRAMES, Trial, write_start, write_thirds


def main() -> None:
    """Print the smallest p-value of each seed, and how many seeds rejected."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True)
    add("--seeds", type=int, default=20)
    add("--clips", type=int, default=64, help="of each class")
    add("--deals", type=int, default=0, help="further ones, of the labels alone")
    add("--shift", action="store_true", help="non-members are of another kind")
    options = parser.parse_args()
    smallest, aucs, warned, again = [], [], 0, list[float]()
    for seed in range(options.seeds):
        trial = Trial(seed, clips=options.clips)
        out = options.out / f"{'shift-' * options.shift}{seed}"
        result = evaluated(out, trial, options.shift)
        again += relabelled(out / "run", options.deals, seed)
        (report,) = answers.frame_reports(result)
        baselines = report.frame.baselines.baselines
        p_values = {n: b.significance.p_adjusted for n, b in baselines.items()}
        name = min(p_values, key=lambda name: p_values[name])
        smallest.append(p_values[name])
        aucs += [blind.auc.value for blind in baselines.values()]
        (answer,) = answers.answers(report, result)
        warned += bool(answer.warning)
        auc = baselines[name].auc.value
        print(
            f"seed {seed}: corrected p {smallest[-1]:.3f}, {name}, AUC {auc:.3f}",
            flush=True,
        )
    rejected = int(np.sum(np.array(smallest) <= 0.05))
    print(
        f"{rejected} of {options.seeds} seeds rejected at 5 %, {warned} reports began with"
        f" the warning; AUCs of the baselines from {min(aucs):.2f} to {max(aucs):.2f}"
    )
    if again:
        share = np.mean(np.array(again) <= 0.05)
        print(f"of {len(again)} further deals of the labels, {share:.1%} rejected at 5 %")


def relabelled(run: Path, deals: int, seed: int) -> list[float]:
    """Return the smallest corrected p-value of each random labelling of a run's clips."""
    (study,) = make_study([read(run)]).runs[0].frames
    sample = study.labelled
    facts = read_facts(study, sample.ids, COLUMNS)
    settings, out = EvaluationSettings(bootstrap=10, permutations=99), []
    for rng in np.random.default_rng(seed).spawn(deals):
        shuffled = replace(sample, label=rng.permutation(sample.label))
        blind = evaluate_blind(shuffled, lambda _: facts, None, settings)
        out.append(min(b.significance.p_adjusted for b in blind.baselines.values()))
    return out


def evaluated(out: Path, trial: Trial, shift: bool) -> Result:
    """Write, split, score and evaluate the clips of a seed."""
    out.mkdir(parents=True, exist_ok=True)
    records = write_clips(out / "clips", 3 * trial.clips, trial.seed)
    if shift:  # the order of the split is drawn here, too, so that B's clips are known
        order = np.random.default_rng([trial.seed, 1]).permutation(len(records))
        others = write_clips(out / "others", trial.clips, trial.seed, KINDS[1])
        for place, record in zip(order[trial.clips :], others, strict=False):
            records[place] = record
    write_thirds(out, records, trial)
    write_start(out, records, trial)
    data = (out / "A.json", out / "B.json")
    settings = ScoreSettings(out / "random", data, out / "run", (FRAMES,), ("video",))
    score(settings)
    study = make_study([read(out / "run")])
    return evaluate_study(study, EvaluationSettings(bootstrap=500))


if __name__ == "__main__":
    main()
