"""How often blind baselines reject: on fair splits of the demo's clips, on shifted sets.

    python experiments/checks/blind_rates.py --out rates --seeds 20

Each seed writes the demo's clips, deals them as the demo does (64 against 64), scores them
under a model with random weights, and evaluates. No clip was trained on, and a fair deal
makes the sets alike: the baselines, corrected for their number, should reject at 5 % in one
of 20 seeds. `--deals` labels the same clips anew, at random, that many times a seed, for a
rate that is known better. `--shift` makes the non-members clips of another kind instead.
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
    """Print what each seed found, and how many rejected."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True)
    add("--seeds", type=int, default=20)
    add("--clips", type=int, default=64, help="of each class")
    add("--deals", type=int, default=0, help="further ones, of the labels alone")
    add("--shift", action="store_true", help="non-members are of another kind")
    given = parser.parse_args()
    smallest, aucs, warned, again = [], [], 0, list[float]()
    for seed in range(given.seeds):
        trial = Trial(seed, clips=given.clips)
        out = given.out / f"{'shift-' * given.shift}{seed}"
        result = evaluated(out, trial, given.shift)
        again += dealt_again(out / "run", given.deals, seed)
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
        f"{rejected} of {given.seeds} seeds rejected at 5 %, {warned} reports began with"
        f" the warning; AUCs of the baselines from {min(aucs):.2f} to {max(aucs):.2f}"
    )
    if again:
        share = np.mean(np.array(again) <= 0.05)
        print(f"of {len(again)} further deals of the labels, {share:.1%} rejected at 5 %")


def dealt_again(run: Path, deals: int, seed: int) -> list[float]:
    """Return the smallest corrected p-value of each of some random labellings."""
    (study,) = make_study([read(run)]).runs[0].frames
    sample = study.labelled
    facts = read_facts(study, sample.ids, COLUMNS)
    settings, out = EvaluationSettings(bootstrap=10, permutations=99), []
    for rng in np.random.default_rng(seed).spawn(deals):
        dealt = replace(sample, label=rng.permutation(sample.label))
        blind = evaluate_blind(dealt, lambda part: facts, None, settings)
        out.append(min(b.significance.p_adjusted for b in blind.baselines.values()))
    return out


def evaluated(out: Path, trial: Trial, shift: bool) -> Result:
    """Write, deal, score and evaluate the clips of one seed."""
    out.mkdir(parents=True, exist_ok=True)
    records = write_clips(out / "clips", 3 * trial.clips, trial.seed)
    if shift:  # the deal's order is drawn again, so that B is known before it is dealt
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
