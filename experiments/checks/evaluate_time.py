"""How long `vidsme evaluate` computes: every score of the catalogue over simulated clips.

python experiments/checks/evaluate_time.py --clips 1000 --bootstrap 10000
"""

import argparse
import time

import numpy as np
import pyarrow as pa

from vidsme_jax import scores
from vidsme_jax.evaluation import EvaluationSettings
from vidsme_jax.evaluation_table import evaluate_table


def main() -> None:
    """Print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--clips", type=int, default=1000)
    add("--bootstrap", type=int, default=10_000)
    given = parser.parse_args()
    rng, label = np.random.default_rng(0), np.arange(given.clips) % 2
    drawn = {
        name: (rng.normal(size=given.clips) + 0.3 * label).astype(np.float32)
        for name in scores.columns()
    }
    keys = {"id": [str(n) for n in range(given.clips)], "label": label}
    keys["frames"] = np.full(given.clips, 16)
    table = pa.table(keys | drawn)
    start = time.monotonic()
    evaluate_table(table, EvaluationSettings(bootstrap=given.bootstrap))
    print(
        f"{len(drawn)} scores, {given.clips} clips, {given.bootstrap} resamples:"
        f" {time.monotonic() - start:.1f} s"
    )


if __name__ == "__main__":
    main()
