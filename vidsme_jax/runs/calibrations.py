"""Ranges of motion and illumination per frame count: made from clips, read, written."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vidsme_jax.errors import InputError
from vidsme_jax.progress import say
from vidsme_jax.records import files
from vidsme_jax.scores.orders import Calibration, calibrate


def calibrate_counts(
    clips: Sequence[dict[str, Any]],
    counts: Sequence[int],
    beta1: float = 1.0,
    beta2: float = 0.1,
) -> dict[int, Calibration]:
    """Return the calibration of each frame count over the clips that are ok.

    None where no clip is; a statistic that is the same for all clips is said.
    """
    facts = [clip for clip in clips if clip["status"] == "ok"]
    out: dict[int, Calibration] = {}
    for frames in counts if facts else ():
        motions, lights = (
            np.array([clip[str(frames)][name] for clip in facts])
            for name in ("motion", "illumination")
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            out[frames] = calibrate(motions, lights, beta1, beta2)
        for warning in caught:
            say(f"warning: {frames} frames: {warning.message}")
    return out


def write_calibrations(folder: Path, calibrations: dict[int, Calibration]) -> None:
    """Write calibration.json."""
    content = {str(n): vars(c) for n, c in calibrations.items()}
    files.write_json(folder / "calibration.json", content)


def read_calibrations(path: Path, counts: Sequence[int]) -> dict[int, Calibration]:
    """Read a calibration.json.

    Raises:
        InputError: it is none, or lacks one of the frame counts.
    """
    content = files.read_json(path)
    try:
        found = {
            int(n): Calibration(**{name: float(v) for name, v in ranges.items()})
            for n, ranges in content.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"calibration={path} is not one of ours: expected for each frame count the"
            " motion_min, motion_max, illumination_min, illumination_max of a run's"
            " calibration.json"
        ) from error
    betas = {(c.beta1, c.beta2) for c in found.values()}
    if len(betas) > 1:
        raise InputError(
            f"calibration={path} has beta1 and beta2 {sorted(betas)}, expected one pair"
        )
    absent = [n for n in counts if n not in found]
    if absent:
        raise InputError(
            f"calibration={path} has frame counts {sorted(found)}, expected {absent}"
        )
    return {n: found[n] for n in counts}
