"""Measure how long `vidsme evaluate` computes, for all scores over simulated clips.

    python experiments/checks/evaluate_time.py --clips 1000 --bootstrap 10000

Everything is computed but the report: metrics, intervals and p-values of all scores, and
the blind baselines, an embedding of 1,024 numbers among them.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from vidsme_jax.evaluation.evaluate import evaluate_study
from vidsme_jax.evaluation.settings import EvaluationSettings
from vidsme_jax.evaluation.study import make_study
from vidsme_jax.records.runs import Run
from vidsme_jax.scores import catalogue


def vectors(rng: np.random.Generator, clips: int, **widths: int) -> dict[str, pa.Array]:
    """Return a column of random vectors for each width."""
    return {
        name: pa.array(list(rng.normal(size=(clips, width)).astype(np.float32)))
        for name, width in widths.items()
    }


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--clips", type=int, default=1000)
    add("--bootstrap", type=int, default=10_000)
    options = parser.parse_args()
    clips, bootstrap = options.clips, options.bootstrap
    rng, label = np.random.default_rng(0), np.arange(clips) % 2
    scores = {
        name: (rng.normal(size=clips) + 0.3 * label).astype(np.float32)
        for name in catalogue.columns()
    }
    keys = {"id": [str(n) for n in range(clips)], "label": label}
    keys["frames"] = np.full(clips, 16)
    movement = {n: rng.normal(size=clips) for n in ("motion", "illumination")}
    features = pa.table(keys | vectors(rng, clips, appearance=56, embedding=1024))
    empty = pa.table(keys).select(["id", "frames"]).slice(0, 0)
    table = pa.table(keys | movement | scores)
    others = {"features": features}
    run = Run(Path("simulated"), {"settings": {}}, table, empty, empty, others)
    start = time.monotonic()
    evaluate_study(make_study([run]), EvaluationSettings(bootstrap=bootstrap))
    print(
        f"{len(scores)} scores, {clips} clips, {bootstrap} resamples:"
        f" {time.monotonic() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
