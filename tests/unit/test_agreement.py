import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from camstudy.core.geometry import resample
from camstudy.core.scaling import degenerate
from camstudy.metrics import agreement
from camstudy.metrics.agreement import dice_at_10, iou_at_10, spearman
from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import Metric, score_family

RNG = np.random.default_rng(0)
NATIVE = RNG.standard_normal((3, 7, 7)).astype(np.float32)
HUMAN = resample(RNG.random((3, 64, 64)).astype(np.float32))
MAPS = {
    "smooth": resample(NATIVE),
    "ReLU": resample(np.maximum(NATIVE, 0)),
    "mostly zeros": resample(np.maximum(NATIVE - 1, 0)),
    "floor": resample(np.maximum(NATIVE, np.float32(0.3))),
    "few levels": np.round(resample(NATIVE) * 2) / 2,
    "float64": resample(NATIVE.astype(np.float64)),
}


def score_agreement(maps, human):
    return score_family("agreement", {"heatmap": maps, "human_map": human})


def spearman_by_scipy(maps, human):
    pairs = zip(maps, human, strict=True)
    return [scipy.stats.spearmanr(a, b, axis=None).statistic for a, b in pairs]


def masks_by_numpy(maps):
    return [m > np.percentile(m.astype(np.float64), 90) for m in maps]


@pytest.mark.parametrize("kind", MAPS)
def test_spearman_equals_scipy(kind):
    expected = spearman_by_scipy(MAPS[kind], HUMAN)
    np.testing.assert_allclose(spearman(MAPS[kind], HUMAN), expected, rtol=0, atol=1e-9)
    np.testing.assert_allclose(spearman(HUMAN, MAPS[kind]), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", MAPS)
def test_overlaps_equal_their_formulas(kind):
    for a, b, dice, iou in zip(
        masks_by_numpy(MAPS[kind]),
        masks_by_numpy(HUMAN),
        dice_at_10(MAPS[kind], HUMAN),
        iou_at_10(MAPS[kind], HUMAN),
        strict=True,
    ):
        assert dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum() + 1e-9), abs=1e-15)
        assert iou == pytest.approx((a & b).sum() / ((a | b).sum() + 1e-9), abs=1e-15)


def test_overlaps_of_ramps_worked_by_hand():
    # 100 pixels, no ties: each mask holds ten; the second is the first moved by four pixels
    ramp = np.arange(100, dtype=np.float32).reshape(1, 10, 10)
    moved = np.roll(ramp.ravel(), -4).reshape(1, 10, 10)
    assert np.flatnonzero(agreement.top_tenth(ramp)).tolist() == list(range(90, 100))
    assert dice_at_10(ramp, moved) == pytest.approx(12 / 20)
    assert iou_at_10(ramp, moved) == pytest.approx(6 / 14)
    assert dice_at_10(ramp, ramp) == pytest.approx(1)
    assert iou_at_10(ramp, -ramp) == 0


def test_wide_plateau_at_the_maximum_leaves_no_mask():
    plateau = np.zeros((1, 10, 10), np.float32)
    plateau[0, :2] = 1
    assert not agreement.top_tenth(plateau).any()
    assert dice_at_10(plateau, plateau) == 0
    assert iou_at_10(plateau, plateau) == 0


def test_neighbouring_floats_at_the_percentile_are_told_apart():
    # the threshold lies nine tenths of the way between two values that have no float32 between them
    values = np.full(12, np.float32(0.3))
    values[10:] = np.nextafter(np.float32(0.3), np.float32(1))
    assert agreement.top_tenth(values.reshape(1, 3, 4)).sum() == 2


@pytest.mark.parametrize("value", [0.0, 0.3, -7.0, np.nan, np.inf, -np.inf])
def test_degenerate_maps_score_zero_and_leave_others_alone(value):
    maps = MAPS["smooth"].copy()
    maps[1] = value
    scores = score_agreement(maps, HUMAN)
    assert degenerate(maps).tolist() == [False, True, False]
    for name, values in scores.items():
        assert values[1] == 0, name
        others = METRICS[name].function(maps[[0, 2]], HUMAN[[0, 2]])
        assert values[[0, 2]].tolist() == others.tolist()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_non_finite_pixel_makes_a_map_degenerate(value):
    maps = MAPS["smooth"].copy()
    maps[2, 100, 17] = value
    assert degenerate(maps).tolist() == [False, False, True]
    assert all(values[2] == 0 for values in score_agreement(maps, HUMAN).values())


def test_constant_maps_stay_degenerate_when_upsampled():
    constants = RNG.random(50).astype(np.float32)[:, None, None] * np.ones((1, 7, 7), np.float32)
    for box in [(0, 0, 1, 1), (0.0625, 0.0625, 0.9375, 0.9375)]:
        assert degenerate(resample(constants, box=box)).all()


def test_constant_human_map_scores_zero_and_a_broken_one_is_refused():
    flat = np.ones_like(HUMAN)
    assert all((values == 0).all() for values in score_agreement(MAPS["smooth"], flat).values())
    broken = HUMAN.copy()
    broken[0, 3, 3] = np.nan
    for name in score_agreement(MAPS["smooth"], HUMAN):
        with pytest.raises(ValueError, match="human map"):
            METRICS[name].function(MAPS["smooth"], broken)


@pytest.mark.parametrize("shape", [(3, 7, 7), (2, 224, 224), (224, 224)])
def test_maps_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="one shape"):
        score_agreement(np.ones(shape, np.float32), HUMAN)


def test_alignment_is_the_mean_as_a_share_of_the_ceiling():
    assert agreement.alignment(np.array([0.2, 0.4, 0.9]), 0.6) == pytest.approx(0.5 / 0.6)


def test_a_new_metric_of_the_family_is_scored(monkeypatch):
    def mean_product(maps, human):
        return (maps * human).mean(axis=(1, 2))

    facts = ("agreement", "up", (0.0, 1.0), "image", "Mean product", "a test", ("heatmap", "human_map"))
    monkeypatch.setitem(METRICS._entries, "mean_product", Metric("mean_product", mean_product, *facts))
    scores = score_agreement(MAPS["smooth"], HUMAN)
    assert set(scores) == {"spearman", "dice_at_10", "iou_at_10", "mean_product"}
    assert scores["mean_product"].tolist() == mean_product(MAPS["smooth"], HUMAN).tolist()


@pytest.mark.parametrize("name", METRICS)
def test_facts_of_every_metric(name):
    metric = METRICS[name]
    low, high = metric.range
    assert metric.direction in ("up", "down")
    assert metric.level in ("image", "dataset")
    assert low < high
    assert metric.label
    assert metric.source
    assert metric.needs
    assert metric.function.__doc__


def test_scores_lie_in_the_stated_ranges():
    for maps in MAPS.values():
        for name, values in score_agreement(maps, HUMAN).items():
            low, high = METRICS[name].range
            assert ((values >= low) & (values <= high)).all()


def test_metrics_and_statistics_do_not_import_torch():
    modules = "camstudy.metrics.families, camstudy.analysis.statistics, camstudy.analysis.aggregate"
    code = f"import sys, {modules}; assert not {{'torch', 'timm'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
