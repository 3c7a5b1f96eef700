import numpy as np
import pytest

from vidsme_jax.scores.orders import Calibration, calibrate, orders


def test_orders_are_the_published_formula(rng):
    v, b = rng.gamma(1, 5, 20), rng.gamma(1, 2, 20)
    q, r = orders(calibrate(v, b), v, b)
    np.testing.assert_allclose(q, 1 + (v.max() - v) / (v.max() - v.min()))
    np.testing.assert_allclose(r, 1 + 0.1 * (b - b.min()) / (b.max() - b.min()))
    assert q[v.argmax()] == 1 and q[v.argmin()] == 2
    assert r[b.argmin()] == 1 and r[b.argmax()] == pytest.approx(1.1)


def test_betas_scale_the_ranges(rng):
    v, b = rng.gamma(1, 5, 20), rng.gamma(1, 2, 20)
    q, r = orders(calibrate(v, b, beta1=0.5, beta2=0.4), v, b)
    assert (q.min(), q.max(), r.min(), r.max()) == pytest.approx((1, 1.5, 1, 1.4))


def test_values_outside_the_calibration_are_clipped():
    calibration = Calibration(1.0, 2.0, 3.0, 5.0)
    q, r = orders(calibration, np.array([0.0, 9.0]), np.array([9.0, 0.0]))
    np.testing.assert_allclose(q, [2, 1])
    np.testing.assert_allclose(r, [1.1, 1])


def test_a_constant_statistic_takes_the_middle_and_warns():
    with pytest.warns(UserWarning, match="motion is 3 for all 4 clips"):
        calibration = calibrate(np.full(4, 3.0), np.array([1.0, 2.0, 3.0, 4.0]))
    q, r = orders(calibration, np.full(4, 3.0), np.array([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(q, 1.5)
    np.testing.assert_allclose(r[[0, -1]], [1, 1.1])


@pytest.mark.parametrize("fields", [(2.0, 1.0, 0.0, 1.0), (0.0, float("nan"), 0.0, 1.0)])
def test_a_calibration_that_makes_no_sense_is_refused(fields):
    with pytest.raises(ValueError, match="motion"):
        Calibration(*fields)


def test_no_clip_to_calibrate_on():
    with pytest.raises(ValueError, match="at least one"):
        calibrate(np.array([]), np.array([]))
