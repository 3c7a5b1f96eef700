"""Measure what blind baselines notice, by the number of clips and the size of a shift.

    python experiments/checks/blind_power.py

Two sets of clips are drawn alike, but that one number of the members' files is shifted, in
standard deviations. Four baselines see 7 numbers of the file, 2 of movement, 40 of the
frames and 64 of a vision tower; a fifth sees all. A shift is noticed where a corrected
p-value is at most 5 %. Without a shift that should happen in 5 % of audits. The last
column is the median true AUC that a report says such audits notice in four of five.
"""

import argparse

import numpy as np

from vidsme_jax.stats.cross_validation import (
    FeatureBlock,
    GroupedLabels,
    cross_validate,
    of_numbers,
)
from vidsme_jax.stats.permutation import corrected_limit, detectable_areas

_NUMBERS = (7, 2, 40, 64)  # of each baseline
_SHIFTS = (0.0, 0.5, 0.8, 1.2, 2.0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--audits", type=int, default=200)
    add("--sizes", type=int, nargs="+", default=(10, 20, 40, 64), help="of each class")
    options = parser.parse_args()
    titles = " | ".join(f"shift {shift:g}" for shift in _SHIFTS)
    print(f"| clips a class | {titles} | AUC said to be noticed |")
    print("| ---: " * (2 + len(_SHIFTS)) + "|")
    for size in options.sizes:
        shares, areas = zip(
            *(noticed(size, shift, options.audits) for shift in _SHIFTS), strict=True
        )
        cells = " | ".join(f"{share:.0%}" for share in shares)
        print(f"| {size} | {cells} | {areas[0]:.2f} |", flush=True)


def noticed(size: int, shift: float, audits: int) -> tuple[float, float]:
    """Return the share of audits that notice a shift, and the AUC they say they notice."""
    rng = np.random.default_rng(0)
    member = np.arange(2 * size) < size
    rows = GroupedLabels(member, np.arange(2 * size), np.arange(2 * size))
    shares, areas = [], []
    for seed in range(audits):
        values = [rng.normal(size=(2 * size, count)) for count in _NUMBERS]
        values[0][:, 0] += shift * member
        blocks = [FeatureBlock(x, of_numbers) for x in values]
        baselines = [*((block,) for block in blocks), tuple(blocks)]
        p_values = cross_validate(baselines, rows, 199, 10, seed).p_values
        shares.append(np.min(p_values.adjusted) <= 0.05)
        limit = corrected_limit(p_values.largest, 0.05)
        areas.append(np.min(detectable_areas(p_values.spread, limit)))
    return float(np.mean(shares)), float(np.nanmedian(areas))


if __name__ == "__main__":
    main()
