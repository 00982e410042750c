"""Intervals of means, paired comparisons and corrections for many tests.

The unit is the image. Where values are those of items, several of one image, ``groups`` (n,) says of which: images are
resampled with all their items, and tests compare means over the items of an image. Every function is deterministic: the
bootstrap is seeded, and the same values in the same order give the same numbers. Values that are not finite raise
ValueError.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from camstudy.core.errors import unknown

_DRAWS_AT_ONCE = 250_000  # indices held in memory by the bootstrap


@dataclass(frozen=True)
class Comparison:
    """A paired comparison: mean of b - a, its interval, the p-value of ``test``, and the number of pairs."""

    difference: float
    low: float
    high: float
    p: float
    test: str
    n: int


def interval(
    values: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """Return the interval of the mean of ``values`` (n,): Wilson's for bool, of others and of items BCa bootstrap's."""
    values = np.asarray(values)
    if groups is not None:
        options = {"confidence": confidence, "resamples": resamples, "seed": seed, "groups": groups}
        return bca_interval_of_means(_finite(values)[:, None], lambda means: means[:, 0], **options)
    if values.dtype == bool:
        return wilson_interval(int(values.sum()), len(values), confidence=confidence)
    return bca_interval(values, confidence=confidence, resamples=resamples, seed=seed)


def bca_interval(
    values: np.ndarray, *, confidence: float = 0.95, resamples: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """Return the bias-corrected and accelerated bootstrap interval of the mean of ``values`` (n,).

    Efron 1987, "Better bootstrap confidence intervals". The acceleration of a mean has a closed form, so no
    jackknife is needed. Equal to ``scipy.stats.bootstrap(method="BCa", rng=np.random.default_rng(seed))``.
    BCa is undefined when all values coincide (one value included): the interval is then that value.
    """
    values = _finite(values)
    if values.min() == values.max():
        return float(values[0]), float(values[0])
    means = bootstrap_means(values, resamples, seed)
    return bca_endpoints(values, means, confidence)


def bootstrap_means(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Return the means (resamples,) of resamples of ``values`` (n,) drawn with replacement.

    Memory is bounded whatever n; the stream of draws does not depend on how it is cut into chunks.
    """
    rng = np.random.default_rng(seed)
    n = len(values)
    means = np.empty(resamples)
    rows = max(1, _DRAWS_AT_ONCE // n)
    for start in range(0, resamples, rows):
        part = means[start : start + rows]
        part[:] = values[rng.integers(0, n, (len(part), n))].mean(axis=1)
    return means


def bca_endpoints(values: np.ndarray, means: np.ndarray, confidence: float) -> tuple[float, float]:
    """Return the BCa endpoints for the mean of ``values`` (n,), given the means of its resamples."""
    return _endpoints(values.mean(), values - values.mean(), means, confidence)


def bca_interval_of_means(
    rows: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> tuple[float, float]:
    """Return the BCa bootstrap interval of a function of several means, such as the largest of them.

    Rows are resampled and the function is applied to the means of each resample; the acceleration comes from the
    jackknife. For the mean of one column it is `bca_interval`, with the same draws. If the statistic is the same for
    all resamples, the interval is that value. The largest of many nearly equal means grows by resampling, so much
    that an interval can leave the estimate out; it is then extended to the estimate.

    Parameters
    ----------
    rows : finite (n, columns), one row for each image, or with ``groups`` for each item
    statistic : from means (m, columns) to values (m,)
    """
    rows = np.asarray(rows, np.float64)
    if rows.ndim != 2 or len(rows) == 0 or not np.isfinite(rows).all():
        raise ValueError(f"expected at least one row of finite values, found shape {rows.shape}")
    if groups is not None:
        return bca_interval_of_means(
            _by_group(rows, groups),
            lambda means: statistic(means[:, :-1] / means[:, -1:]),
            confidence=confidence,
            resamples=resamples,
            seed=seed,
        )
    n, total = len(rows), rows.sum(0)
    replicates = np.concatenate([statistic(counts @ rows / n) for counts in _resamples(n, resamples, seed)])
    estimate = float(statistic(total[None] / n)[0])
    at_once = max(1, _DRAWS_AT_ONCE // rows.shape[1])
    parts = [rows[start : start + at_once] for start in range(0, n, at_once)] if n > 1 else []
    without = (statistic((total - part) / (n - 1)) for part in parts)
    return _around(estimate, replicates, without, confidence)


def bca_interval_of_counts(
    n: int,
    statistic: Callable[[np.ndarray], np.ndarray],
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the BCa bootstrap interval of any function of ``n`` images, such as mean average precision.

    As `bca_interval_of_means`, with the same draws. ``statistic`` is a function from how often each image counts (m, n)
    to values (m,).
    """
    replicates = np.concatenate([statistic(counts) for counts in _resamples(n, resamples, seed)])
    estimate, at_once = float(statistic(np.ones((1, n), np.int64))[0]), max(1, _DRAWS_AT_ONCE // n)
    parts = [np.arange(start, min(start + at_once, n)) for start in range(0, n, at_once)] if n > 1 else []
    without = (statistic((np.arange(n) != part[:, None]).astype(np.int64)) for part in parts)
    return _around(estimate, replicates, without, confidence)


def _resamples(n: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield how often each of ``n`` images is in each of some resamples, int64 (m, n), until all were drawn."""
    rng, at_once = np.random.default_rng(seed), max(1, _DRAWS_AT_ONCE // n)
    for start in range(0, resamples, at_once):
        m = min(at_once, resamples - start)
        drawn = rng.integers(0, n, (m, n)) + n * np.arange(m)[:, None]
        yield np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n)


def _by_group(rows: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the sums of the rows of each group, and, in a last column, their number."""
    _, group = np.unique(groups, return_inverse=True)
    sums = np.zeros((group.max() + 1, rows.shape[1] + 1))
    np.add.at(sums, group, np.column_stack([rows, np.ones(len(rows))]))
    return sums


def group_means(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return the mean of the values (n,) of each group, in ascending order of the groups."""
    sums = _by_group(np.asarray(values, np.float64)[:, None], groups)
    return sums[:, 0] / sums[:, 1]


def _around(
    estimate: float, replicates: np.ndarray, without: Iterator[np.ndarray], confidence: float
) -> tuple[float, float]:
    """Return the interval, given the statistic of resamples, and of all images but some, when it is asked for."""
    # Sums in another order may differ from the estimate in their last digits alone.
    replicates[np.isclose(replicates, estimate, rtol=1e-12, atol=0)] = estimate
    if replicates.min() == replicates.max():
        return estimate, estimate
    left_out = np.concatenate([*without])
    low, high = _endpoints(estimate, left_out.mean() - left_out, replicates, confidence)
    return min(low, estimate), max(high, estimate)


@dataclass(frozen=True)
class Replicated:
    """A mean over seeds and images, its interval over both, that over images alone, and the spread of the seeds."""

    mean: float
    low: float
    high: float
    image_low: float
    image_high: float
    seed_sd: float


def replicated_mean(
    values: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Replicated:
    """Return the mean of ``values`` (seeds, images), all scored on the same images, with two bootstrap intervals.

    Each resample draws seeds, then images, both with replacement, and takes the mean over what was drawn. Images are
    drawn once for all seeds of a resample, since an image that is hard is so under every seed (Owen 2007, "The
    pigeonhole bootstrap", Annals of Applied Statistics 1). The second interval draws images alone, the same ones, and
    so holds for these very seeds. Both are percentiles. With s seeds the bootstrap sees a share of (s - 1) / s of their
    variance: of few seeds, intervals are too narrow, and ``seed_sd``, the standard deviation of the means of the seeds
    (NaN of one), says more.

    Values that are not finite do not count; there must be one that does.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    if values.ndim != 2 or not known.any():
        raise ValueError(f"expected values (seeds, images) of which some are finite, found shape {values.shape}")
    filled = np.where(known, values, 0)
    own = filled.sum(1)[known.any(1)] / known.sum(1)[known.any(1)]
    if groups is not None:
        filled, known = (_by_group(each.T, groups)[:, :-1].T for each in (filled, known))
    seeds, n = filled.shape
    rng, at_once = np.random.default_rng(seed), max(1, _DRAWS_AT_ONCE // n)
    means = np.empty((2, resamples))
    for start in range(0, resamples, at_once):
        m = min(at_once, resamples - start)
        drawn, images = (_counts(rng, m, size) for size in (seeds, n))
        for row, weights in enumerate((drawn, np.ones_like(drawn))):
            number = ((weights @ known) * images).sum(1)
            total = ((weights @ filled) * images).sum(1)
            # A resample without any value says nothing.
            means[row, start : start + m] = np.divide(total, number, out=np.full(m, np.nan), where=number > 0)
    low, high = np.nanquantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)
    spread = float(own.std(ddof=1)) if len(own) > 1 else np.nan
    return Replicated(float(filled.sum() / known.sum()), *map(float, (low[0], high[0], low[1], high[1])), spread)


def _counts(rng: np.random.Generator, m: int, n: int) -> np.ndarray:
    """Return how often each of n things is drawn in m resamples, float64 (m, n)."""
    drawn = rng.integers(0, n, (m, n)) + n * np.arange(m)[:, None]
    return np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n).astype(np.float64)


def _endpoints(
    estimate: float, influence: np.ndarray, replicates: np.ndarray, confidence: float
) -> tuple[float, float]:
    """Return the BCa endpoints, given each image's influence on the estimate up to a factor."""
    from scipy import special

    spread = np.sum(influence**2)
    acceleration = np.sum(influence**3) / (6 * spread**1.5) if spread > 0 else 0.0
    # half of the resamples that equal the estimate count as below it, which matters for values on a coarse grid
    below = (np.mean(replicates < estimate) + np.mean(replicates <= estimate)) / 2
    # beyond all resamples, which a largest mean can be, the bias is as if half a resample were there
    bias = special.ndtri(np.clip(below, 0.5 / len(replicates), 1 - 0.5 / len(replicates)))
    tails = bias + special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = special.ndtr(bias + tails / (1 - acceleration * tails))
    low, high = np.quantile(replicates, levels)
    return float(low), float(high)


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion, sound near 0 and 1 too (Wilson 1927)."""
    from scipy import special

    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, found {successes} of {n}")
    z = special.ndtri((1 + confidence) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # at the ends the bound is 0 or 1 exactly; rounding must not move it
    return (float(centre - half) if successes else 0.0, float(centre + half) if successes < n else 1.0)


def paired_comparison(
    a: np.ndarray,
    b: np.ndarray,
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> Comparison:
    """Compare b with a, (n,) each, on the same images: mean of b - a, its BCa interval, two-sided p-value.

    The test is exact McNemar for bool values, otherwise Wilcoxon's signed-rank test with Pratt's treatment of
    zero differences; of items, the latter of the means of each image. All differences zero: p = 1.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"paired values differ in shape: {a.shape} and {b.shape}")
    is_binary = a.dtype == b.dtype == bool and groups is None
    test, p_value = ("mcnemar", mcnemar) if is_binary else ("wilcoxon", wilcoxon)
    difference = _finite(b) - _finite(a)
    low, high = interval(difference, confidence=confidence, resamples=resamples, seed=seed, groups=groups)
    # Of differences, which are exactly zero where items do not differ.
    p = p_value(a, b) if groups is None else p_value(np.zeros(1), group_means(difference, groups))
    return Comparison(float(difference.mean()), low, high, p, test, len(a))


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Return the p-value of McNemar's exact test: the sign test on the pairs of bool values that differ."""
    from scipy import stats

    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def wilcoxon(a: np.ndarray, b: np.ndarray) -> float:
    """Return the p-value of Wilcoxon's signed-rank test with Pratt's zero differences (Pratt 1959)."""
    from scipy import stats

    difference = _finite(b) - _finite(a)
    if not difference.any():
        return 1.0
    return float(stats.wilcoxon(difference, zero_method="pratt").pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Return Holm's step-down corrected p-values (m,), which bound the family-wise error rate (Holm 1979)."""
    p = _p_values(p)
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return corrected


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Return Benjamini and Hochberg's corrected p-values (m,), which bound the false discovery rate."""
    from scipy import stats

    return stats.false_discovery_control(_p_values(p), method="bh")


def correct(p: np.ndarray, correction: str) -> np.ndarray:
    """Return p-values (m,) corrected by the method of that name in `CORRECTIONS`."""
    if correction not in CORRECTIONS:
        raise unknown("correction", correction, CORRECTIONS)
    return CORRECTIONS[correction](p)


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"expected at least one value in one dimension, found shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} values are not finite")
    return values


def _p_values(p: np.ndarray) -> np.ndarray:
    p = np.asarray(p, dtype=np.float64)
    if not np.all((p >= 0) & (p <= 1)):
        raise ValueError(f"p-values must lie in [0, 1], found {p}")
    return p


CORRECTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "holm": holm,
    "benjamini_hochberg": benjamini_hochberg,
    "none": _p_values,
}
