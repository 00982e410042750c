"""Intervals of means, paired comparisons and corrections for many tests.

The unit is the image. Every function is deterministic: the bootstrap is seeded, and the same values in the
same order give the same numbers. Values that are not finite raise ValueError.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special, stats

from camstudy.errors import unknown

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
    values: np.ndarray, *, confidence: float = 0.95, resamples: int = 9999, seed: int = 0
) -> tuple[float, float]:
    """Return the interval of the mean of ``values`` (n,): Wilson's for bool, the BCa bootstrap otherwise."""
    values = np.asarray(values)
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
    deviations = values - values.mean()
    acceleration = np.sum(deviations**3) / (6 * np.sum(deviations**2) ** 1.5)
    # half of the resamples that equal the mean count as below it, which matters for values on a coarse grid
    below = (np.mean(means < values.mean()) + np.mean(means <= values.mean())) / 2
    bias = special.ndtri(below)
    tails = bias + special.ndtri([(1 - confidence) / 2, (1 + confidence) / 2])
    levels = special.ndtr(bias + tails / (1 - acceleration * tails))
    low, high = np.quantile(means, levels)
    return float(low), float(high)


def wilson_interval(successes: int, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a proportion, sound near 0 and 1 too (Wilson 1927)."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"expected 0 <= successes <= n and n >= 1, found {successes} of {n}")
    z = special.ndtri((1 + confidence) / 2)
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # at the ends the bound is 0 or 1 exactly; rounding must not move it
    return (float(centre - half) if successes else 0.0, float(centre + half) if successes < n else 1.0)


def paired_comparison(
    a: np.ndarray, b: np.ndarray, *, confidence: float = 0.95, resamples: int = 9999, seed: int = 0
) -> Comparison:
    """Compare b with a, (n,) each, on the same images: mean of b - a, its BCa interval, two-sided p-value.

    The test is exact McNemar for bool values, otherwise Wilcoxon's signed-rank test with Pratt's treatment of
    zero differences. All differences zero: p = 1.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        raise ValueError(f"paired values differ in shape: {a.shape} and {b.shape}")
    test, p_value = ("mcnemar", mcnemar) if a.dtype == b.dtype == bool else ("wilcoxon", wilcoxon)
    difference = _finite(b) - _finite(a)
    low, high = bca_interval(difference, confidence=confidence, resamples=resamples, seed=seed)
    return Comparison(float(difference.mean()), low, high, p_value(a, b), test, len(a))


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Return the p-value of McNemar's exact test: the sign test on the pairs of bool values that differ."""
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def wilcoxon(a: np.ndarray, b: np.ndarray) -> float:
    """Return the p-value of Wilcoxon's signed-rank test with Pratt's zero differences (Pratt 1959)."""
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
