import tracemalloc

import numpy as np
import pytest
import scipy.stats

from camstudy.analysis import statistics
from camstudy.analysis.statistics import (
    bca_interval,
    bca_interval_of_means,
    benjamini_hochberg,
    bootstrap_means,
    correct,
    holm,
    interval,
    mcnemar,
    paired_comparison,
    wilcoxon,
    wilson_interval,
)
from camstudy.core.errors import CamstudyError

RNG = np.random.default_rng(0)
SAMPLES = {
    "normal": RNG.normal(0.3, 0.2, 300),
    "skewed": RNG.exponential(1, 80) ** 2,
    "coarse grid": RNG.integers(-1, 2, 200).astype(float),
    "rare ones": (np.arange(150) < 3).astype(float),
    "few": np.array([0.1, 0.5, 0.2, 0.9]),
    "two": np.array([0.0, 1.0]),
}


def bootstrap_by_scipy(values, confidence, resamples, rng):
    return scipy.stats.bootstrap(
        (values,), np.mean, confidence_level=confidence, n_resamples=resamples, method="BCa", rng=rng
    )


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("name", SAMPLES)
def test_bca_equals_scipy_for_the_same_draws(name, confidence):
    expected = bootstrap_by_scipy(SAMPLES[name], confidence, 2000, np.random.default_rng(7))
    found = bca_interval(SAMPLES[name], confidence=confidence, resamples=2000, seed=7)
    np.testing.assert_allclose(found, expected.confidence_interval, rtol=1e-12, atol=1e-14)


def test_bootstrap_does_not_depend_on_the_chunks(monkeypatch):
    whole = bootstrap_means(SAMPLES["normal"], 500, seed=3)
    for draws in (1, 1000, 7 * 300, 10**7):
        monkeypatch.setattr(statistics, "_DRAWS_AT_ONCE", draws)
        assert bootstrap_means(SAMPLES["normal"], 500, seed=3).tolist() == whole.tolist()


def test_bca_covers_the_mean_of_a_skewed_population():
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(300):
        low, high = bca_interval(rng.exponential(1, 60), resamples=400, seed=seed)
        hits += low <= 1 <= high
    assert 0.90 <= hits / 300 <= 0.98  # 0.94 is expected; the standard error is 0.014


def test_bca_is_seeded_and_scales_with_the_values():
    values = SAMPLES["skewed"]
    assert bca_interval(values, seed=1) == bca_interval(values, seed=1)
    assert bca_interval(values, seed=1) != bca_interval(values, seed=2)
    np.testing.assert_allclose(bca_interval(values / 0.6, seed=1), np.divide(bca_interval(values, seed=1), 0.6))


@pytest.mark.parametrize("values", [[0.1], [0.1] * 7, [0.0] * 3])
def test_interval_of_equal_values_is_the_value(values):
    assert bca_interval(np.array(values)) == (values[0], values[0])


def test_bootstrap_of_many_images_needs_little_memory():
    values = RNG.random(50_000)
    tracemalloc.start()
    bca_interval(values, resamples=40)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6  # all draws at once would take 32 MB


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (1, 10), (3, 7), (377, 384), (0, 1), (1, 1)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_equals_scipy(successes, n, confidence):
    expected = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    np.testing.assert_allclose(wilson_interval(successes, n, confidence=confidence), expected, atol=1e-12)


def test_wilson_stays_in_the_unit_interval():
    assert wilson_interval(0, 3)[0] == 0
    assert wilson_interval(3, 3)[1] == 1


@pytest.mark.parametrize(("successes", "n"), [(-1, 3), (4, 3), (0, 0)])
def test_impossible_proportions_are_refused(successes, n):
    with pytest.raises(ValueError, match="successes"):
        wilson_interval(successes, n)


def test_interval_is_wilson_for_bool_and_bca_otherwise():
    truths = np.arange(20) < 18
    assert interval(truths) == wilson_interval(18, 20)
    assert interval(truths.astype(float), seed=4) == bca_interval(truths.astype(float), seed=4)


@pytest.mark.parametrize("function", [bca_interval, interval, lambda v: wilcoxon(v, v[::-1])])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(function, value):
    with pytest.raises(ValueError, match="1 of 3 values are not finite"):
        function(np.array([0.1, value, 0.2]))


def test_no_values_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        bca_interval(np.array([]))


@pytest.mark.parametrize("n", [8, 30, 400])
def test_paired_comparison_equals_scipy(n):
    a = RNG.random(n)
    b = a + RNG.normal(0.05, 0.1, n)
    b[: n // 4] = a[: n // 4]  # zero differences
    found = paired_comparison(a, b, resamples=1000, seed=5)
    expected = bootstrap_by_scipy(b - a, 0.95, 1000, np.random.default_rng(5)).confidence_interval
    assert found.difference == pytest.approx(b.mean() - a.mean())
    np.testing.assert_allclose((found.low, found.high), expected)
    assert found.p == scipy.stats.wilcoxon(b, a, zero_method="pratt").pvalue
    assert (found.test, found.n) == ("wilcoxon", n)


def test_wilcoxon_without_ties_equals_counting_all_signs():
    difference = np.array([0.3, -0.1, 0.7, 0.5, 0.2, -0.4])
    ranks = scipy.stats.rankdata(np.abs(difference))
    signs = np.array(np.meshgrid(*[[0, 1]] * 6)).reshape(6, -1)
    sums = ranks @ signs
    observed = ranks[difference > 0].sum()
    expected = 2 * min((sums >= observed).mean(), (sums <= observed).mean())
    assert wilcoxon(np.zeros(6), difference) == pytest.approx(expected)


def test_pratt_keeps_the_ranks_of_zero_differences():
    a = np.zeros(40)
    b = np.where(np.arange(40) < 15, 0.0, RNG.normal(0.3, 1, 40))
    assert wilcoxon(a, b) != pytest.approx(scipy.stats.wilcoxon(b, a, zero_method="wilcox").pvalue)


def test_equal_samples_have_no_difference():
    values = RNG.random(20)
    found = paired_comparison(values, values)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_one_pair_has_no_evidence():
    found = paired_comparison(np.array([0.1]), np.array([0.4]))
    assert found.difference == pytest.approx(0.3)
    assert found.p == 1


@pytest.mark.parametrize(("only_a", "only_b", "p"), [(0, 0, 1.0), (1, 0, 1.0), (0, 5, 2 / 32), (1, 5, 14 / 64)])
def test_mcnemar_worked_by_hand(only_a, only_b, p):
    a = np.array([True] * only_a + [False] * only_b + [True, False, True])
    b = np.array([False] * only_a + [True] * only_b + [True, False, True])
    found = paired_comparison(a, b)
    assert mcnemar(a, b) == pytest.approx(p)
    assert (found.p, found.test) == (mcnemar(a, b), "mcnemar")
    assert found.difference == pytest.approx((only_b - only_a) / len(a))


def test_pairs_of_different_length_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        paired_comparison(np.ones(3), np.ones(4))


@pytest.mark.parametrize(
    ("p", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x .005, 3 x .01, 2 x .03, then .04 held up
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.5, 0.9], [1.0, 1.0]),
        ([0.04], [0.04]),
        ([], []),
    ],
)
def test_holm_worked_by_hand(p, corrected):
    np.testing.assert_allclose(holm(np.array(p)), corrected, atol=1e-15)


def test_benjamini_hochberg_worked_by_hand():
    # 4 x .005 / 1, 4 x .01 / 2, 4 x .03 / 3 and .04, each lowered to the smallest that follows
    np.testing.assert_allclose(benjamini_hochberg([0.01, 0.04, 0.03, 0.005]), [0.02, 0.04, 0.04, 0.02])
    assert benjamini_hochberg([]).shape == (0,)


def test_corrections_by_name():
    p = np.array([0.01, 0.04])
    assert correct(p, "holm").tolist() == [0.02, 0.04]
    assert correct(p, "none").tolist() == p.tolist()
    assert correct(p, "benjamini_hochberg").tolist() == [0.02, 0.04]
    with pytest.raises(CamstudyError, match="did you mean `holm`"):
        correct(p, "hlom")


@pytest.mark.parametrize("correction", ["holm", "benjamini_hochberg", "none"])
@pytest.mark.parametrize("p", [[0.1, np.nan], [-0.1], [1.1]])
def test_impossible_p_values_are_refused(correction, p):
    with pytest.raises(ValueError, match="p-values must lie"):
        correct(np.array(p), correction)


@pytest.mark.parametrize("name", sorted(SAMPLES.keys() - {"few"}))
def test_interval_of_one_mean_is_that_of_the_mean(name):
    # Few values in decimals have equal means that rounding tells apart, differently when they are added differently.
    values = SAMPLES[name]
    found = bca_interval_of_means(values[:, None], lambda means: means[:, 0], resamples=800, seed=5)
    np.testing.assert_allclose(found, bca_interval(values, resamples=800, seed=5), rtol=1e-9)


def test_interval_of_a_ratio_of_means_equals_scipys():
    rng = np.random.default_rng(2)
    top, bottom = rng.exponential(2, 90), rng.uniform(1, 3, 90)
    expected = scipy.stats.bootstrap(
        (top, bottom),
        lambda a, b, axis=-1: a.mean(axis) / b.mean(axis),
        paired=True,
        n_resamples=800,
        method="BCa",
        rng=np.random.default_rng(4),
    )
    rows = np.stack([top, bottom], 1)
    found = bca_interval_of_means(rows, lambda means: means[:, 0] / means[:, 1], resamples=800, seed=4)
    np.testing.assert_allclose(found, expected.confidence_interval, rtol=1e-9)


def test_interval_of_means_does_not_depend_on_the_chunks(monkeypatch):
    rows = np.random.default_rng(3).random((70, 4))
    options = {"statistic": lambda means: means.max(1), "resamples": 300}
    whole = bca_interval_of_means(rows, **options)
    for draws in (1, 1000):
        monkeypatch.setattr(statistics, "_DRAWS_AT_ONCE", draws)
        np.testing.assert_allclose(bca_interval_of_means(rows, **options), whole, rtol=1e-12)


def test_interval_of_a_constant_statistic_is_its_value():
    ones = np.ones((12, 3))
    assert bca_interval_of_means(ones, lambda means: means.max(1), resamples=100) == (1, 1)
    assert bca_interval_of_means(ones[:1] / 4, lambda means: means.max(1), resamples=100) == (0.25, 0.25)


def test_interval_of_the_largest_of_many_means_holds_the_estimate():
    rows = np.random.default_rng(5).random((30, 400)) < 0.5
    low, high = bca_interval_of_means(rows, lambda means: means.max(1), resamples=100)
    assert low <= rows.mean(0).max() <= high
