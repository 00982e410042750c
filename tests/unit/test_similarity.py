"""How alike two models' maps are, against SciPy, from stores as the workflow writes them."""

import numpy as np
import pytest
import scipy.stats

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.counting import Counting
from camstudy.analysis.similarity import SIMILARITY, summarize_similarity
from camstudy.metrics.similarity import map_correlation

METHODS = {name: {"postprocess": {}} for name in ("m", "same")}
SETTINGS = Settings(resamples=299)


class Store:
    """Maps as `camstudy.explain.store.Heatmaps` gives them."""

    def __init__(self, maps, boxes=(0.0, 0.0, 1.0, 1.0)):
        self._maps, self.n, self.shape, self._box = maps.astype(np.float32), len(maps), maps.shape[1:], boxes

    def maps(self, part):
        return self._maps[part]

    def boxes(self):
        return np.tile(self._box, (self.n, 1))


def pair(n=30, shape=(7, 7), noise=0.5):
    rng = np.random.default_rng(n)
    first = rng.normal(size=(n, *shape)).astype(np.float32)
    return first, first + noise * rng.normal(size=first.shape).astype(np.float32)


def scipy_correlation(first, second):
    return np.array([scipy.stats.spearmanr(a.ravel(), b.ravel())[0] for a, b in zip(first, second, strict=True)])


def rows(first, second, settings=SETTINGS, **more):
    stores = {("gap", "ca", "m"): (first, second), ("gap", "ca", "same"): (first, first)}
    return summarize_similarity(stores, METHODS, dataset="d", settings=settings, **more)


def test_correlation_is_scipys_and_knows_ties():
    first, second = pair()
    second[3] = np.round(second[3])
    np.testing.assert_allclose(map_correlation(first, second), scipy_correlation(first, second), atol=1e-12)
    np.testing.assert_allclose(map_correlation(first, np.exp(first)), 1, atol=1e-12)
    np.testing.assert_allclose(map_correlation(first, -first), -1, atol=1e-12)


def test_maps_that_say_nothing_have_no_correlation():
    first, second = pair(4)
    first[0], second[1], second[2, 0, 0] = 2.0, 0.0, np.nan
    expected = scipy_correlation(first[3:], second[3:])
    np.testing.assert_allclose(map_correlation(first, second), [0, 0, 0, *expected], atol=1e-12)
    with pytest.raises(ValueError, match="differ in shape"):
        map_correlation(first, second[:, :3])


def test_rows_have_means_and_intervals():
    first, second = pair(200)
    table = rows(Store(first), Store(second))
    assert tuple(table.columns) == SIMILARITY
    row, same = table.iloc[0], table.iloc[1]
    values = scipy_correlation(first, second)
    assert row["mean"] == pytest.approx(values.mean(), abs=1e-12)
    # Of 200 nearly symmetric values, the bootstrap's interval is about the normal one.
    spread = 1.96 * values.std(ddof=1) / np.sqrt(200)
    expected = (row["mean"] - spread, row["mean"] + spread)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected, abs=0.25 * spread)
    assert (row["n"], row["n_degenerate"]) == (200, 0)
    assert same["mean"] == pytest.approx(1)


@pytest.mark.parametrize(("policy", "n"), [("score", 30), ("skip", 28)])
def test_degenerate_maps_count_or_do_not(policy, n):
    first, second = pair()
    first[0], second[7] = 1.0, 0.0
    values = map_correlation(first, second)
    kept = values if policy == "score" else np.delete(values, [0, 7])
    row = rows(Store(first), Store(second), Settings(resamples=99, degenerate=policy)).iloc[0]
    assert (row["n"], row["n_degenerate"]) == (n, 2)
    assert row["mean"] == pytest.approx(kept.mean())


def test_other_crops_are_not_compared_and_other_resolutions_at_one():
    first, second = pair(5)
    crops = rows(Store(first), Store(second, boxes=(0.1, 0.1, 0.9, 0.9)))
    assert crops["method"].tolist() == ["same"]
    finer = rows(Store(first), Store(first.repeat(2, 1).repeat(2, 2)))
    assert 0.8 < finer["mean"][0] < 1


def test_images_count_that_both_models_are_right_about():
    first, second = pair()
    first[0], second[9] = 1.0, 0.0
    counting = Counting({"gap": np.arange(0, 30, 3), "ca": np.arange(6, 30)})
    row = rows(Store(first), Store(second), counting=counting).iloc[0]
    both = [image for image in range(30) if image % 3 == 0 and image >= 6]
    values = map_correlation(first[both], second[both])
    assert (row["n"], row["n_degenerate"]) == (len(both), 1)
    assert row["mean"] == pytest.approx(values.mean())
    # As if no others were there.
    alone = rows(Store(first[both]), Store(second[both])).iloc[0]
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((alone["ci_low"], alone["ci_high"]), abs=1e-12)
    disjoint = Counting({"gap": np.arange(3), "ca": np.arange(3, 30)})
    none = rows(Store(first), Store(second), counting=disjoint).iloc[0]
    assert none["n"] == 0
    assert np.isnan([none["mean"], none["ci_low"], none["ci_high"]]).all()


def test_items_of_an_image_are_resampled_together():
    first, second = pair()
    sources = np.repeat(np.arange(0, 30, 3), 3)
    row = rows(Store(first), Store(second), Settings(resamples=299, sources=sources)).iloc[0]
    values = map_correlation(first, second)
    found = scipy.stats.bootstrap(
        (values.reshape(-1, 3).mean(1),), np.mean, n_resamples=299, rng=np.random.default_rng(0), method="BCa"
    ).confidence_interval
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(tuple(found), rel=1e-9)
    assert row["n"] == 30
