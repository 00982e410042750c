"""Statistics of items, several of one image: images are resampled, and mean average precision equals scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn.metrics import average_precision_score

from camstudy.analysis.aggregate import Settings, compare, summarize, summarize_sweep
from camstudy.analysis.statistics import (
    bca_interval_of_counts,
    bca_interval_of_means,
    interval,
    paired_comparison,
)
from camstudy.core.average_precision import RankedImages
from camstudy.metrics.average_precision import mean_average_precision
from camstudy.metrics.prediction import score_label_sets

RNG = np.random.default_rng(0)
# Fourteen images of one to three items.
SIZES = np.array([1, 2, 3, 1, 1, 2, 3, 2, 1, 1, 2, 3, 1, 2])
STARTS = np.cumsum(SIZES) - SIZES
SOURCES = np.repeat(STARTS, SIZES)
N, IMAGES = len(SOURCES), len(SIZES)
VALUES = RNG.random(N) + 0.3 * RNG.random(IMAGES)[np.repeat(np.arange(IMAGES), SIZES)]
OPTIONS = {"confidence": 0.9, "resamples": 800, "seed": 5}


def ratio(sums, sizes, axis=-1):
    return sums.sum(axis) / sizes.sum(axis)


def by_scipy(values):
    """BCa of the mean over items with images resampled: the ratio of two sums of images, from a library."""
    sums = np.add.reduceat(values, STARTS)
    found = scipy.stats.bootstrap(
        (sums, SIZES.astype(float)),
        ratio,
        paired=True,
        vectorized=True,
        confidence_level=0.9,
        n_resamples=800,
        rng=np.random.default_rng(5),
    )
    return tuple(found.confidence_interval)


def test_intervals_of_items_equal_scipys_over_images():
    assert interval(VALUES, groups=SOURCES, **OPTIONS) == pytest.approx(by_scipy(VALUES), rel=1e-9)
    # And so of proportions, whose items are not independent.
    flags = VALUES > 0.6
    assert interval(flags, groups=SOURCES, **OPTIONS) == pytest.approx(by_scipy(flags.astype(float)), rel=1e-9)
    several = np.column_stack([VALUES, VALUES**2])
    found = bca_interval_of_means(several, lambda means: means.max(1), groups=SOURCES, **OPTIONS)
    assert found == pytest.approx(by_scipy(VALUES), rel=1e-9)


def test_images_of_one_item_are_as_without_items():
    alone = np.arange(N)
    assert interval(VALUES, groups=alone, **OPTIONS) == pytest.approx(interval(VALUES, **OPTIONS), rel=1e-12)
    assert interval(np.ones(N), groups=SOURCES, **OPTIONS) == (1, 1)


def test_items_that_repeat_their_image_leave_the_interval_of_the_images():
    values = RNG.random(IMAGES)
    doubled = interval(np.repeat(values, 2), groups=np.repeat(np.arange(IMAGES), 2), **OPTIONS)
    assert doubled == pytest.approx(interval(values, **OPTIONS), rel=1e-12)


def test_comparisons_of_items_test_the_means_of_images():
    other = VALUES + RNG.normal(0.1, 0.2, N)
    found = paired_comparison(VALUES, other, groups=SOURCES, **OPTIONS)
    assert found.difference == pytest.approx((other - VALUES).mean())
    assert (found.low, found.high) == pytest.approx(by_scipy(other - VALUES), rel=1e-9)
    means = np.array([(other - VALUES)[start == SOURCES].mean() for start in STARTS])
    assert found.p == pytest.approx(scipy.stats.wilcoxon(means, zero_method="pratt").pvalue)
    assert (found.test, found.n) == ("wilcoxon", N)
    flags = paired_comparison(VALUES > 0.5, other > 0.5, groups=SOURCES, **OPTIONS)
    assert flags.test == "wilcoxon"
    assert paired_comparison(VALUES, VALUES, groups=SOURCES, **OPTIONS).p == 1


# Mean average precision


def sets(n, classes, seed):
    rng = np.random.default_rng(seed)
    logits = np.round(rng.normal(size=(n, classes)), 1)  # ties
    present = (rng.random((n, classes)) < 0.3).astype(np.int8)
    present[rng.random((n, classes)) < 0.1] = -1
    return logits, present


def by_sklearn(logits, present, images=slice(None)):
    """The mean over classes that some image has; images that are neither are left out of their class."""
    logits, present = logits[images], present[images]
    found = []
    for scores, truth in zip(logits.T, present.T, strict=True):
        counts = truth >= 0
        if (truth == 1).any():
            found.append(average_precision_score(truth[counts], scores[counts]))
    return np.mean(found)


def test_mean_average_precision_equals_scikit_learns():
    for seed in range(5):
        logits, present = sets(40, 6, seed)
        assert mean_average_precision(logits, present) == pytest.approx(by_sklearn(logits, present), abs=1e-12)
    logits, present = sets(40, 6, 9)
    present[:, 2] = 0  # a class that no image has
    assert mean_average_precision(logits, present) == pytest.approx(by_sklearn(logits, present), abs=1e-12)


def test_weights_are_images_that_come_several_times():
    logits, present = sets(15, 4, 1)
    present[:, 3] = 0
    present[3, 3] = 1  # often in no resample
    ranked = RankedImages(logits, present)
    drawn = RNG.integers(0, 15, (20, 15))
    weights = np.stack([np.bincount(row, minlength=15) for row in drawn])
    expected = [by_sklearn(logits, present, row) for row in drawn]
    np.testing.assert_allclose(ranked.mean_average_precision(weights), expected, atol=1e-12)


def test_the_interval_of_mean_average_precision_equals_scipys():
    logits, present = sets(25, 3, 2)
    ranked = RankedImages(logits, present)
    found = scipy.stats.bootstrap(
        (np.arange(25),),
        lambda rows: by_sklearn(logits, present, rows.astype(int)),
        vectorized=False,
        confidence_level=0.9,
        n_resamples=300,
        rng=np.random.default_rng(5),
    )
    options = OPTIONS | {"resamples": 300}
    mine = bca_interval_of_counts(25, ranked.mean_average_precision, **options)
    assert mine == pytest.approx(tuple(found.confidence_interval), rel=1e-9)


def test_a_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"expected logits and label sets \(n, classes\), found \(3, 2\) and \(3,\)"):
        mean_average_precision(np.zeros((3, 2)), np.zeros(3))
    with pytest.raises(ValueError, match="non-finite"):
        mean_average_precision(np.full((3, 2), np.nan), np.ones((3, 2)))


# The long table


def frame(values):
    return pd.DataFrame(
        {"image": np.arange(N), "degenerate": False, "average_drop": values, "average_increase": values > 0.6}
    )


def test_the_long_table_resamples_images():
    settings = Settings(confidence=0.9, resamples=800, seed=5, sources=SOURCES)
    shuffled = frame(VALUES).sample(frac=1, random_state=0)
    table = summarize({("net", "gradcam"): shuffled}, dataset="voc", ceiling=None, settings=settings).set_index(
        "metric"
    )
    for metric, values in (("average_drop", VALUES), ("average_increase", (VALUES > 0.6).astype(float))):
        assert table.loc[metric, "mean"] == pytest.approx(values.mean())
        assert tuple(table.loc[metric, ["ci_low", "ci_high"]]) == pytest.approx(by_scipy(values), rel=1e-9)
        assert table.loc[metric, "n"] == N
    other = VALUES + 0.1 * RNG.random(N)
    frames = {("net", "gradcam"): shuffled, ("other", "gradcam"): frame(other)}
    found = compare(frames, [("net", "other")], dataset="voc", ceiling=None, settings=settings).set_index("metric")
    assert tuple(found.loc["average_drop", ["ci_low", "ci_high"]]) == pytest.approx(by_scipy(other - VALUES), rel=1e-9)


def test_predictions_of_items_count_images_once():
    logits, present = sets(IMAGES, 4, 3)
    present[np.arange(IMAGES), np.arange(IMAGES) % 4] = 1
    which = np.repeat(np.arange(IMAGES), SIZES)
    labels = np.arange(N) % 4
    columns = score_label_sets(logits[which], labels, present[which])
    np.testing.assert_allclose(columns["probability"], 1 / (1 + np.exp(-logits[which, labels])))
    settings = Settings(confidence=0.9, resamples=300, seed=5, sources=SOURCES)
    scores = pd.DataFrame({"image": np.arange(N), "label": labels, **columns})
    table = summarize({("net", ""): scores}, dataset="voc", ceiling=None, settings=settings).set_index("metric")
    assert list(table.index) == ["probability", "mean_average_precision"]
    row = table.loc["mean_average_precision"]
    assert row["mean"] == pytest.approx(by_sklearn(logits.astype(np.float32), present), abs=1e-9)
    assert row["n"] == IMAGES
    assert row["ci_low"] < row["mean"] < row["ci_high"]
    assert table.loc["probability", "n"] == N


def test_halves_of_a_sweep_do_not_share_images():
    rng = np.random.default_rng(1)
    rows = [(image, floor, rng.random()) for image in range(N) for floor in (np.nan, 0.5)]
    swept = pd.DataFrame(rows, columns=["image", "floor", "spearman"]).assign(degenerate=False)
    settings = Settings(resamples=99, sources=SOURCES)
    table = summarize_sweep({("net", "gradcam"): swept}, dataset="voc", ceiling=1.0, settings=settings).set_index(
        "metric"
    )
    even = np.isin(SOURCES, STARTS[::2])
    assert table.loc["held_out_alignment_even", "n"] == even.sum()
    assert table.loc["held_out_alignment_odd", "n"] == (~even).sum()
