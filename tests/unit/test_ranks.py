import numpy as np
import pytest
import scipy.stats

from camstudy.metrics.ranks import MAX_LENGTH, average_ranks, rank_correlation

RNG = np.random.default_rng(0)
TINY = np.finfo(np.float32).smallest_subnormal
ROWS = {
    "no ties": RNG.standard_normal(5000),
    "few values": RNG.integers(-3, 4, 5000).astype(float),
    "plateau at the minimum": np.maximum(RNG.standard_normal(5000), 0.5),
    "plateau at the maximum": np.minimum(RNG.standard_normal(5000), -0.5),
    "plateau in the middle": np.round(RNG.standard_normal(5000) * 0.6),
    "all exponents": RNG.choice([-1.0, 1.0], 5000) * 2.0 ** RNG.integers(-140, 120, 5000),
    "denormals": TINY * RNG.integers(-5, 6, 5000),
    "infinities": np.where(RNG.random(5000) < 0.1, np.inf, RNG.standard_normal(5000)) * RNG.choice([-1, 1], 5000),
    "constant": np.full(5000, 0.3),
    "ascending": np.arange(5000.0),
    "descending": -np.arange(5000.0),
    "one value": np.array([2.0]),
    "two values": np.array([2.0, -1.0]),
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("name", ROWS)
def test_ranks_equal_those_of_scipy(name, dtype):
    with np.errstate(over="ignore"):
        row = ROWS[name].astype(dtype)
    values = np.stack([row, np.roll(row, 7), row[::-1]])
    assert np.array_equal(average_ranks(values), scipy.stats.rankdata(values, axis=1))


def test_zeros_of_either_sign_tie():
    values = np.array([[0.0, -0.0, 1.0, -1.0, -0.0, TINY, -TINY]])
    for dtype in (np.float32, np.float64):
        assert average_ranks(values.astype(dtype)).tolist() == [[4, 4, 7, 1, 4, 6, 2]]


def test_float64_is_not_rounded_to_float32():
    values = np.array([[1.0, 1.0 + 1e-12, 1.0 - 1e-12, 1.0]])
    assert average_ranks(values).tolist() == [[2.5, 4, 1, 2.5]]
    assert average_ranks(values.astype(np.float32)).tolist() == [[2.5] * 4]


@pytest.mark.parametrize("dtype", [np.int64, np.longdouble, np.complex64])
def test_types_that_would_be_rounded_are_refused(dtype):
    with pytest.raises(TypeError, match=np.dtype(dtype).name):
        average_ranks(np.ones((1, 4), dtype))


@pytest.mark.parametrize("shape", [(4,), (1, MAX_LENGTH + 1)])
def test_impossible_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected"):
        average_ranks(np.broadcast_to(np.float32(0), shape))


@pytest.mark.parametrize("first", ["no ties", "few values", "plateau at the minimum", "all exponents"])
@pytest.mark.parametrize("second", ["no ties", "plateau at the maximum", "plateau in the middle", "infinities"])
@pytest.mark.parametrize("dtypes", [(np.float32, np.float32), (np.float32, np.float64), (np.float64, np.float16)])
def test_correlation_equals_that_of_scipy(first, second, dtypes):
    with np.errstate(over="ignore", under="ignore"):
        a, b = ROWS[first].astype(dtypes[0]), ROWS[second].astype(dtypes[1])
    a, b = np.stack([a, a[::-1]]), np.stack([b, b])
    expected = [scipy.stats.spearmanr(*pair).statistic for pair in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b), expected, rtol=0, atol=1e-12)


def test_monotone_rows_correlate_exactly():
    row = RNG.standard_normal((1, 50_176)).astype(np.float32)
    assert rank_correlation(row, 2 * row) == 1
    assert rank_correlation(row, -row) == -1


def test_longest_row_does_not_overflow():
    row = np.arange(MAX_LENGTH, dtype=np.float32)[None]
    assert rank_correlation(row, row) == 1
    assert rank_correlation(row, -row) == -1


def test_constant_rows_correlate_with_nothing():
    ramp, flat = np.arange(9, dtype=np.float32)[None], np.ones((1, 9), np.float32)
    assert [rank_correlation(a, b)[0] for a, b in [(ramp, flat), (flat, ramp), (flat, flat)]] == [0, 0, 0]
    assert rank_correlation(ramp[:, :1], ramp[:, :1])[0] == 0


def test_rows_of_different_shape_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        rank_correlation(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))


def test_no_rows_give_no_correlations():
    assert rank_correlation(np.ones((0, 9), np.float32), np.ones((0, 9), np.float32)).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_rows_with_the_same_row(dtype):
    first = np.stack([ROWS["no ties"], ROWS["plateau at the minimum"], ROWS["constant"]] * 2).reshape(2, 3, -1)
    second = np.stack([ROWS["few values"], ROWS["no ties"][::-1]])
    found = rank_correlation(first.astype(dtype), second.astype(dtype))
    for row, column in np.ndindex(2, 2):
        expected = scipy.stats.spearmanr(first[row, column].astype(dtype), second[row].astype(dtype)).statistic
        assert found[row, column] == pytest.approx(expected, abs=1e-12)
    assert (found[:, 2] == 0).all()
    with pytest.raises(ValueError, match="differ in shape"):
        rank_correlation(first, second[:1])
