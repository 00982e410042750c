"""The threshold sweep: equal to scoring each floor by itself, with scipy and with the metric."""

import numpy as np
import pytest
import scipy.stats

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample
from camstudy.explain.postprocess import apply
from camstudy.metrics.agreement import spearman
from camstudy.metrics.sweep import sweep_floors

RNG = np.random.default_rng(0)
FLOORS = [None, 0, 0.1, 0.3, 0.5, 0.9]
N, SIDE = 6, 56
# With and without the zeros of a ReLU, and with negative values.
MAPS = RNG.standard_normal((N, 7, 7), dtype=np.float32)
MAPS[:3] = np.maximum(MAPS[:3], 0)
HUMAN = resample(RNG.random((N, 64, 64), dtype=np.float32), (SIDE, SIDE))


def floored(one, floor):
    """The method's last steps, for one map, as its paper states them."""
    return one if floor is None else np.maximum((one - one.min()) / (one.max() - one.min()), np.float32(floor))


def test_every_floor_equals_scipy():
    found, degenerate = sweep_floors(MAPS, HUMAN, FLOORS)
    assert not degenerate.any()
    for column, floor in enumerate(FLOORS):
        for row in range(N):
            one = resample(floored(MAPS[row], floor), (SIDE, SIDE))
            expected = scipy.stats.spearmanr(one.ravel(), HUMAN[row].ravel()).statistic
            assert found[row, column] == pytest.approx(expected, abs=1e-12)
    assert len(np.unique(found[0])) >= len(FLOORS) - 1  # the floors do make a difference


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_sweep_equals_the_metric_at_each_floor(dtype):
    maps = MAPS.astype(dtype)
    found, _ = sweep_floors(maps, HUMAN, FLOORS)
    for column, floor in enumerate(FLOORS):
        alone = apply(maps, {} if floor is None else {"floor": floor})
        np.testing.assert_allclose(found[:, column], spearman(resample(alone, (SIDE, SIDE)), HUMAN), rtol=0, atol=1e-12)


def test_degenerate_maps_score_0_at_every_floor():
    maps = MAPS.copy()
    maps[1], maps[4] = 0, 0.7
    maps[3, 2, 2], maps[5, 0, 0] = np.nan, np.inf
    found, degenerate = sweep_floors(maps, HUMAN, FLOORS)
    assert np.array_equal(degenerate, np.repeat(np.isin(np.arange(N), [1, 3, 4, 5])[:, None], len(FLOORS), 1))
    assert (found[[1, 3, 4, 5]] == 0).all()
    np.testing.assert_array_equal(found[[0, 2]], sweep_floors(MAPS[[0, 2]], HUMAN[[0, 2]], FLOORS)[0])


def test_impossible_input_is_refused():
    with pytest.raises(CamstudyError, match=r"`floor`: a number from 0 to below 1 is needed, found 1\.5"):
        sweep_floors(MAPS, HUMAN, [0.1, 1.5])
    with pytest.raises(ValueError, match="human map"):
        sweep_floors(MAPS[:1], np.full((1, SIDE, SIDE), np.nan), FLOORS)
