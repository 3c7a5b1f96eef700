"""Make, read and write the ranges of motion and illumination of every frame count."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vidsme_jax.data.prepared import ClipFacts
from vidsme_jax.errors import InputError
from vidsme_jax.progress import say
from vidsme_jax.records import files
from vidsme_jax.scores.orders import Calibration, calibrate


def calibrate_counts(
    clips: Sequence[ClipFacts],
    counts: Sequence[int],
    beta1: float = 1.0,
    beta2: float = 0.1,
) -> dict[int, Calibration]:
    """Return the calibration of every frame count over the clips that are ok.

    A statistic that is the same for all clips brings a warning.

    Args:
        clips: facts of every clip.
        counts: the frame counts.
        beta1: width of the range of q.
        beta2: width of the range of r.

    Returns:
        By frame count; empty where no clip is ok.
    """
    good = [facts for facts in clips if facts.is_ok]
    out: dict[int, Calibration] = {}
    for frames in counts if good else ():
        motions = np.array([facts.at[frames].motion for facts in good])
        lights = np.array([facts.at[frames].illumination for facts in good])
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
        InputError: the file is no calibration, or lacks a frame count.
    """
    content = files.read_json(path)
    try:
        calibrations = {
            int(n): Calibration(**{name: float(v) for name, v in ranges.items()})
            for n, ranges in content.items()
        }
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"calibration={path} is not one of ours: expected for each frame count the"
            " motion_min, motion_max, illumination_min, illumination_max of a run's"
            " calibration.json"
        ) from error
    betas = {(c.beta1, c.beta2) for c in calibrations.values()}
    if len(betas) > 1:
        raise InputError(
            f"calibration={path} has beta1 and beta2 {sorted(betas)}, expected one pair"
        )
    absent = [n for n in counts if n not in calibrations]
    if absent:
        raise InputError(
            f"calibration={path} has frame counts {sorted(calibrations)}, expected {absent}"
        )
    return {n: calibrations[n] for n in counts}
