"""Maps scaled to [0, 1]: against a statement pixel by pixel, and for maps that cannot be."""

import numpy as np
import pytest

from camstudy.core.scaling import degenerate, min_max


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_every_map_is_scaled_by_its_own_extremes(kind):
    maps = np.random.default_rng(0).normal(3, 20, (4, 6, 5)).astype(kind)
    found = min_max(maps, kind)
    assert found.dtype == kind
    for one, scaled in zip(maps.tolist(), found, strict=True):
        values = [value for row in one for value in row]
        expected = [[(value - min(values)) / (max(values) - min(values)) for value in row] for row in one]
        np.testing.assert_allclose(scaled, expected, atol=1e-6 if kind == np.float32 else 1e-14)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [0.0, -3.5, np.nan, np.inf, -np.inf])
def test_what_cannot_be_scaled_is_zero_and_told(value):
    maps = np.stack([np.full((3, 3), value), np.arange(9.0).reshape(3, 3)])
    if not np.isfinite(value):
        maps[0, 1:] = [[0, 1, 2], [3, 4, 5]]
    assert (min_max(maps)[0] == 0).all()
    np.testing.assert_allclose(min_max(maps)[1], np.arange(9).reshape(3, 3) / 8)
    assert degenerate(maps).tolist() == [True, False]
