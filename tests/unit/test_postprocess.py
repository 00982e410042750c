"""Min-max and floor on read, against a statement pixel by pixel, and on maps without evidence."""

import numpy as np
import pytest

from camstudy.core.errors import CamstudyError
from camstudy.explain.postprocess import apply


def test_floor_equals_its_statement():
    maps = np.random.default_rng(0).gamma(0.5, size=(5, 7, 7)).astype(np.float32)
    result = apply(maps, {"floor": 0.3})
    for i in range(5):
        low, high = float(maps[i].min()), float(maps[i].max())
        for (y, x), value in np.ndenumerate(maps[i]):
            assert result[i, y, x] == pytest.approx(max((float(value) - low) / (high - low), 0.3), abs=1e-6)
    assert result.dtype == np.float32
    assert (result == np.float32(0.3)).sum() > 50, "the floor must make ties"
    np.testing.assert_allclose(result.max((1, 2)), 1, rtol=1e-6)


def test_nothing_to_do():
    maps = np.array([[[-1.0, 5.0]]])
    np.testing.assert_array_equal(apply(maps, {}), maps)


def test_floor_of_zero_is_min_max():
    np.testing.assert_array_equal(apply(np.array([[[2.0, 3.0, 6.0]]]), {"floor": 0}), [[[0, 0.25, 1]]])


@pytest.mark.parametrize("value", [0.0, 4.0, -2.5, 1e-30])
def test_constant_maps_become_zero(value):
    """A zero map stays zero, which no floor lifts; its neighbours do not notice."""
    maps = np.stack([np.full((3, 3), value), np.arange(9.0).reshape(3, 3)]).astype(np.float32)
    result = apply(maps, {"floor": 0.3})
    assert (result[0] == 0).all()
    np.testing.assert_allclose(result[1], np.maximum(np.arange(9).reshape(3, 3) / 8, 0.3), rtol=1e-6)


def test_small_values_keep_their_shape():
    """No epsilon: maps averaged over many channels are tiny."""
    maps = np.array([[[0.0, 1.0, 2.0]]]) * 1e-12
    np.testing.assert_allclose(apply(maps, {"floor": 0.3}), [[[0.3, 0.5, 1.0]]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.filterwarnings("error")
def test_non_finite_maps_stay_so(bad):
    result = apply(np.array([[[0.0, 1.0, bad]], [[0.0, 1.0, 2.0]]]), {"floor": 0.3})
    assert not np.isfinite(result[0]).all()
    np.testing.assert_array_equal(result[1], [[0.3, 0.5, 1.0]])


@pytest.mark.parametrize(
    ("postprocess", "message"),
    [
        ({"flor": 0.3}, r"unknown postprocess `flor`, did you mean `floor`\?"),
        ({"floor": 1}, r"`floor`: .* found 1$"),
        ({"floor": -0.1}, r"found -0.1"),
        ({"floor": "0.3"}, r"found '0.3'"),
        ({"floor": True}, r"found True"),
    ],
)
def test_mistakes(postprocess, message):
    with pytest.raises(CamstudyError, match=message):
        apply(np.zeros((1, 2, 2)), postprocess)
