"""Metrics of gaze against pysaliency and scikit-learn, on random maps with ties, and where they are stated by hand."""

import numpy as np
import pytest
from pysaliency_peer import pysaliency
from sklearn.metrics import roc_auc_score

from camstudy.core.geometry import resample
from camstudy.metrics.families import METRICS
from camstudy.metrics.gaze import auc_judd, cc, information_gain, kld, nss, shuffled_auc, sim, to_density
from camstudy.metrics.registry import image_metrics

SHAPE = (30, 41)
IMAGES = 5


@pytest.fixture(scope="module")
def peer():
    with pysaliency() as module:
        yield module


@pytest.fixture(scope="module")
def scenes():
    """Maps with ties, some of them negative, fixations of which some are repeated, and densities."""
    rng = np.random.default_rng(0)
    maps = [np.round(rng.normal(size=SHAPE), 1).astype(np.float32) for _ in range(IMAGES)]
    maps[1] = np.maximum(maps[1], 0)
    fixations = [rng.integers(0, SHAPE, (count, 2)) for count in (1, 9, 20, 33, 7)]
    fixations[2][5:8] = fixations[2][4]
    densities = [to_density(rng.random(SHAPE) ** 4) for _ in range(IMAGES)]
    return maps, fixations, densities


def counts(fixations, shape=SHAPE):
    """The numbers of fixations of all other images on each pixel."""
    each = []
    for pixels in fixations:
        found = np.zeros(shape, int)
        np.add.at(found, tuple(pixels.T), 1)
        each.append(found)
    return [sum(each) - own for own in each]


class Maps:
    """Given maps as a model of pysaliency, by the number of the stimulus."""

    def __new__(cls, peer, stimuli, maps):
        class Given(peer.SaliencyMapModel):
            def _saliency_map(self, stimulus):
                number = next(n for n, other in enumerate(stimuli) if np.array_equal(other, stimulus))
                return maps[number].astype(np.float64)

        return Given()


@pytest.fixture(scope="module")
def judged(peer, scenes):
    maps, fixations, _ = scenes
    pixels = [np.full((*SHAPE, 3), number, np.uint8) for number in range(IMAGES)]
    xs, ys = ([one[:, axis].tolist() for one in fixations] for axis in (1, 0))
    ts = [[*range(len(one))] for one in fixations]
    trains = peer.FixationTrains.from_fixation_trains(xs, ys, ts, list(range(IMAGES)), [0] * IMAGES)
    return Maps(peer, pixels, maps), peer.Stimuli(pixels), trains


def by_image(values, trains):
    return np.array([values[trains.n == number].mean() for number in range(IMAGES)])


def test_nss_equals_pysaliency(scenes, judged):
    model, stimuli, trains = judged
    found = nss(*scenes[:2])
    np.testing.assert_allclose(found, by_image(model.NSSs(stimuli, trains), trains), atol=1e-6)
    assert np.ptp(found) > 0.1


def test_auc_judd_equals_pysaliency(scenes, judged):
    model, stimuli, trains = judged
    expected = by_image(model.AUCs(stimuli, trains, nonfixations="unfixated"), trains)
    np.testing.assert_allclose(auc_judd(*scenes[:2]), expected, atol=1e-12)


def test_shuffled_auc_equals_pysaliency(scenes, judged):
    model, stimuli, trains = judged
    expected = by_image(model.AUCs(stimuli, trains, nonfixations="shuffled"), trains)
    np.testing.assert_allclose(shuffled_auc(*scenes[:2], counts(scenes[1])), expected, atol=1e-12)


def test_areas_equal_scikit_learn(scenes):
    maps, fixations, _ = scenes
    others, found, shuffled = (
        counts(fixations),
        auc_judd(maps, fixations),
        shuffled_auc(maps, fixations, counts(fixations)),
    )
    for number, (values, pixels) in enumerate(zip(maps, fixations, strict=True)):
        fixated = np.zeros(SHAPE, bool)
        fixated[tuple(pixels.T)] = True
        positives = values[tuple(pixels.T)]
        for negatives, area in (
            (values[~fixated], found[number]),
            (np.repeat(values.ravel(), others[number].ravel()), shuffled[number]),
        ):
            truth = np.r_[np.ones(len(positives)), np.zeros(len(negatives))]
            assert area == pytest.approx(roc_auc_score(truth, np.r_[positives, negatives]), abs=1e-12)


@pytest.mark.parametrize("kind", ["smooth", "plateau", "tiny", "huge", "outlier"])
def test_areas_of_many_pixels_equal_scikit_learn(kind):
    rng = np.random.default_rng(3)
    values = resample(rng.normal(size=(4, 5)).astype(np.float32), (200, 300))
    values = {
        "smooth": values,
        "plateau": np.maximum(values, 0),
        "tiny": values * np.float32(1e-42),
        "huge": values * np.float32(1e38),
        "outlier": np.where(np.arange(60000).reshape(200, 300) == 77, np.float32(1e30), values),
    }[kind]
    pixels = rng.integers(0, (200, 300), (50, 2))
    fixated = np.zeros((200, 300), bool)
    fixated[tuple(pixels.T)] = True
    scores = np.r_[values[tuple(pixels.T)], values[~fixated]]
    ranks = np.unique(scores, return_inverse=True)[1]
    expected = roc_auc_score(np.arange(len(scores)) < 50, ranks)
    assert auc_judd([values], [pixels])[0] == pytest.approx(expected, abs=1e-12)


def test_densities_equal_pysaliency(peer, scenes):
    from pysaliency.metrics import CC, SIM, MIT_KLDiv

    maps, _, densities = scenes
    for metric, other in ((cc, CC), (sim, SIM), (kld, MIT_KLDiv)):
        expected = [other(values.astype(np.float64), people) for values, people in zip(maps, densities, strict=True)]
        np.testing.assert_allclose(metric(maps, densities), expected, atol=1e-9)


def test_similarity_of_scaled_maps(scenes):
    maps, _, densities = scenes
    maps = [values + 9 for values in maps]  # with a minimum of 0 they are the same
    expected = []
    for values, people in zip(maps, densities, strict=True):
        first, second = ((each - each.min()) / np.ptp(each) for each in (values.astype(np.float64), people))
        expected.append(np.minimum(first / first.sum(), second / second.sum()).sum())
    np.testing.assert_allclose(sim(maps, densities, minmax=True), expected, atol=1e-12)
    assert np.abs(sim(maps, densities) - expected).max() > 0.01


def test_information_gain_is_a_difference_of_logarithms(scenes):
    maps, fixations, baselines = scenes
    expected = []
    for values, pixels, baseline in zip(maps, fixations, baselines, strict=True):
        values = values.astype(np.float64) - min(float(values.min()), 0) + 2.2204e-16
        baseline = baseline + 2.2204e-16
        probability, other = values / values.sum(), baseline / baseline.sum()
        expected.append(np.mean([np.log2(probability[y, x] / other[y, x]) for y, x in pixels]))
    np.testing.assert_allclose(information_gain(maps, fixations, baselines), expected, atol=1e-6)


def test_nss_of_the_density_is_another_number(scenes):
    """Weighting the standardized map by the density of the fixations is not NSS."""
    maps, fixations, _ = scenes
    from camstudy.data.formats.gaze import fixation_density

    weighted = []
    for values, pixels in zip(maps, fixations, strict=True):
        people = fixation_density(pixels + 0.5, SHAPE, 4, size=SHAPE)
        weighted.append(((values - values.mean()) / values.std() * people).sum() / people.sum())
    assert np.abs(nss(maps, fixations) - weighted).min() > 0.01


CONSTANT = {"nss": 0, "auc_judd": 0.5, "shuffled_auc": 0.5, "cc": 0}


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, np.nan])
def test_degenerate_maps_score_as_stated(scenes, value):
    _, fixations, densities = scenes
    broken, uniform = [np.full(SHAPE, value, np.float32)], np.full(SHAPE, 1 / 1230)
    if np.isnan(value):
        broken[0] = np.arange(1230.0).reshape(SHAPE)
        broken[0][3, 4] = np.inf
    evidence = {"heatmap": broken, "fixations": fixations[1:2], "density": densities[1:2], "baseline": densities[:1]}
    evidence["other_fixations"] = counts(fixations)[1:2]
    for metric in image_metrics("gaze"):
        (found,) = metric.function(*(evidence[need] for need in metric.needs))
        if metric.name in CONSTANT:
            assert found == CONSTANT[metric.name]
        else:
            (expected,) = metric.function(*((evidence | {"heatmap": [uniform]})[need] for need in metric.needs))
            assert found == pytest.approx(expected, abs=1e-9)


def test_images_without_fixations_have_no_score(scenes):
    maps, _, densities = scenes
    evidence = {"heatmap": maps[:1], "fixations": [np.empty((0, 2), int)], "density": [np.zeros(SHAPE)]}
    evidence |= {"baseline": densities[:1], "other_fixations": [np.ones(SHAPE, int)]}
    for metric in image_metrics("gaze"):
        assert np.isnan(metric.function(*(evidence[need] for need in metric.needs))).all()
        assert METRICS[metric.name].partial


def test_without_negatives_there_is_no_area():
    values, everywhere = [np.arange(6.0).reshape(2, 3)], [np.argwhere(np.ones((2, 3)))]
    assert np.isnan(auc_judd(values, everywhere)).all()
    assert np.isnan(shuffled_auc(values, everywhere, [np.zeros((2, 3), int)])).all()


def test_areas_do_not_change_with_monotone_transforms(scenes):
    maps, fixations, _ = scenes
    steep = [np.exp(values.astype(np.float64)) for values in maps]
    np.testing.assert_array_equal(auc_judd(maps, fixations), auc_judd(steep, fixations))
    others = counts(fixations)
    np.testing.assert_array_equal(shuffled_auc(maps, fixations, others), shuffled_auc(steep, fixations, others))
