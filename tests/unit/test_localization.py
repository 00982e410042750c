"""Localisation against boxes drawn by hand, brute force on pixels, scipy's components and OpenCV's contours."""

import cv2
import numpy as np
import pytest
from localized import score_localization
from scipy import ndimage

from camstudy.core.geometry import resample
from camstudy.metrics.components import largest_boxes
from camstudy.metrics.families import METRICS
from camstudy.metrics.localization import (
    box_accuracy,
    box_hits,
    energy_pointing_game,
    has_boxes,
    localization_error,
    map_box,
    official_metric,
    overlap,
    pixel_f1,
    pointing_game,
    pointing_game_exact,
)

RNG = np.random.default_rng(0)
SIZE = (40, 50)
NONE = [0, 0, 0, 0]


def drawn(*boxes, size=SIZE, value=1.0):
    """A map that is 1 within boxes (top, left, bottom, right) and 0 elsewhere."""
    canvas = np.zeros(size, np.float32)
    for top, left, bottom, right in boxes:
        canvas[top:bottom, left:right] = value
    return canvas


def boxes_by_scipy(levels, count):
    found = np.zeros((count, 4), int)
    for level in range(count):
        labels, n = ndimage.label(levels > level)  # 4-connected
        if n:
            rows, columns = ndimage.find_objects(labels)[np.bincount(labels.ravel())[1:].argmax()]
            found[level] = rows.start, columns.start, rows.stop, columns.stop
    return found


@pytest.mark.parametrize(("count", "size"), [(1, (9, 7)), (4, (9, 7)), (255, (30, 20)), (3, (1, 12)), (2, (1, 1))])
def test_components_equal_scipys(count, size):
    noise = RNG.integers(0, count + 1, (20, *size))
    smooth = (resample(RNG.random((20, 5, 5)), size) * (count + 0.999)).astype(int)
    for levels in (noise, smooth):
        expected = [boxes_by_scipy(one, count) for one in levels]
        np.testing.assert_array_equal(largest_boxes(levels, count), expected)


def test_impossible_levels_are_refused():
    for levels in (np.full((1, 2, 2), 5), np.full((1, 2, 2), -1), np.zeros((1, 2, 2)), np.zeros((2, 2), int)):
        with pytest.raises(ValueError, match="expected"):
            largest_boxes(levels, 4)


def test_box_of_a_map_holds_its_last_row_and_column():
    assert map_box(drawn((5, 6, 20, 30))[None]).tolist() == [[5, 6, 20, 30]]
    assert map_box(drawn((30, 40, 40, 50))[None]).tolist() == [[30, 40, 40, 50]]
    assert map_box(drawn((39, 49, 40, 50))[None]).tolist() == [[39, 49, 40, 50]]


def test_box_of_a_map_is_around_the_largest_part():
    # Parts that touch at a corner are two.
    assert map_box(drawn((0, 0, 4, 4), (4, 4, 9, 10), (30, 0, 32, 3))[None]).tolist() == [[4, 4, 9, 10]]


@pytest.mark.parametrize("value", [0.0, 0.3, 1e-8, np.nan, np.inf])
def test_degenerate_maps_have_no_box(value):
    maps = np.full((1, *SIZE), value, np.float32)
    assert map_box(maps).tolist() == [NONE]
    spoilt = drawn((5, 6, 20, 30))
    spoilt[3, 3] = value if not np.isfinite(value) else np.nan
    assert map_box(spoilt[None]).tolist() == [NONE]


def iou_by_pixels(first, second, scale=4):
    """On a raster of quarter pixels."""
    masks = [drawn([round(edge * scale) for edge in box], size=(400, 400)) > 0 for box in (first, second)]
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


def test_overlap_equals_counting():
    corners = RNG.integers(0, 180, (40, 2, 2)) / 4
    sizes = RNG.integers(4, 180, (40, 2, 2)) / 4
    pairs = np.concatenate([corners, corners + sizes], axis=2)
    expected = [iou_by_pixels(*pair) for pair in pairs]
    np.testing.assert_allclose(overlap(pairs[:, 0], pairs[:, 1]), expected)
    assert overlap(np.array([NONE]), np.array([NONE])).tolist() == [0]
    assert overlap(np.array([[2, 2, 4, 4.0]]), np.array([NONE])).tolist() == [0]


def test_error_and_official_metric_by_hand():
    found = np.array([[0, 0, 10, 10]] * 4 + [NONE])
    half, more = [0, 0, 10, 20], [0, 0, 10, 19]  # IoU exactly 0.5, which is none, and 0.526
    boxes = np.array([[half, NONE], [more, NONE], [[20, 20, 30, 30], more], [more, NONE], [more, NONE]], float)
    assert localization_error(found, boxes).tolist() == [True, False, False, False, True]
    correct = np.array([True, True, True, False, True])
    assert official_metric(found, boxes, correct).tolist() == [True, False, False, True, True]


def test_boxes_are_rows_then_columns():
    """A wide object: with transposed boxes none of this would hold."""
    box = np.array([[[10, 5, 14, 45]]], float)
    scores = score_localization(
        drawn((10, 5, 14, 45))[None], box, np.array([True]), {"pointing_game": {"tolerance": 0}}
    )
    expected = {"localization_error": 0, "official_metric": 0, "pointing_game": 1, "energy_pointing_game": 1}
    assert {name: scores[name][0] for name in expected} == expected
    assert scores["pixel_f1"][0] == pytest.approx(1, abs=1e-5)


def test_f1_by_hand():
    # Mass 200 of which 60 in a box of 120 pixels: P = 0.3, R = 0.5.
    maps, boxes = drawn((0, 0, 10, 20))[None], np.array([[[4, 10, 10, 30], [30, 30, 40, 50]]], float)
    expected = 2 * 0.3 * 0.5 / 0.8
    assert pixel_f1(maps, boxes) == pytest.approx(expected, abs=1e-5)
    assert pixel_f1(maps, boxes, over_boxes="mean") == pytest.approx(expected / 2, abs=1e-5)
    one = np.concatenate([boxes[:, :1], np.zeros((1, 1, 4))], axis=1)
    assert pixel_f1(maps, one, over_boxes="mean") == pytest.approx(expected, abs=1e-5)


def test_f1_equals_its_formula_on_continuous_maps():
    maps = resample(RNG.standard_normal((5, 7, 7)), SIZE)
    box = np.array([3, 8, 21, 30])
    for one, found in zip(maps, pixel_f1(maps, np.tile(box, (5, 1, 1))), strict=True):
        mass = (one - one.min()) / (one.max() - one.min())
        hit = mass[3:21, 8:30].sum()
        precision, recall = hit / (mass.sum() + 1e-6), hit / (18 * 22)
        assert found == pytest.approx(2 * precision * recall / (precision + recall + 1e-6))


def pointing_by_search(one, boxes, tolerance):
    """Share of the maxima within reach of a pixel of a box, every pair of pixels looked at."""
    members = [
        (row, column)
        for top, left, bottom, right in boxes
        for row in range(SIZE[0])
        for column in range(SIZE[1])
        if top <= row + 0.5 < bottom and left <= column + 0.5 < right
    ]
    peaks = np.argwhere(one == one.max())
    near = []
    for peak in peaks:
        distances = [np.hypot(*(peak - member)) for member in members]
        near.append(any(distance < tolerance or distance == 0 for distance in distances))
    return near


@pytest.mark.parametrize("tolerance", [0, 1, 5, 5.5])
def test_pointing_game_equals_a_search(tolerance):
    maps = np.floor(resample(RNG.random((12, 5, 5)), SIZE) * 8)  # with ties
    corners = RNG.uniform(0, 25, (12, 2, 2))
    boxes = np.concatenate([corners, corners + RNG.uniform(1, 12, (12, 2, 2))], axis=2)
    near = [pointing_by_search(one, two, tolerance) for one, two in zip(maps, boxes, strict=True)]
    found = {ties: pointing_game(maps, boxes, tolerance=tolerance, ties=ties) for ties in ("mean", "any", "first")}
    np.testing.assert_allclose(found["mean"], [np.mean(one) for one in near])
    assert found["any"].tolist() == [any(one) for one in near]
    assert found["first"].tolist() == [one[0] for one in near]
    assert 0 < np.mean(found["mean"]) < 1


def test_the_exact_game_has_no_tolerance_and_the_same_ties():
    # One maximum a pixel right of the box; another two, of which one is in it.
    maps, boxes = np.zeros((2, *SIZE)), np.array([[[10, 10, 20, 35]]] * 2, float)
    maps[0, 12, 35] = maps[1, 12, 34] = maps[1, 12, 36] = 1
    assert pointing_game(maps, boxes).tolist() == [1, 1]
    assert pointing_game_exact(maps, boxes).tolist() == [0, 0.5]
    assert pointing_game_exact(maps, boxes, ties="any").tolist() == [False, True]


def test_ties_decide_about_a_constant_map():
    """Fake-CAM: any maximum hits nearly always; the mean gives the share of the box."""
    maps, boxes = np.ones((1, *SIZE)), np.array([[[10, 10, 20, 35]]], float)
    options = {"tolerance": 0}
    assert pointing_game(maps, boxes, **options) == pytest.approx(250 / 2000)
    assert pointing_game(maps, boxes, ties="any", **options).tolist() == [True]
    assert pointing_game(maps, boxes, ties="first", **options).tolist() == [False]


def test_energy_is_the_share_of_mass():
    maps = np.stack([drawn((0, 0, 10, 20)), resample(RNG.random((1, 5, 5)), SIZE)[0] + 3])
    boxes = np.array([[[4, 10, 10, 30], [8, 5, 12, 15]], [[0, 0, 20, 25], [10, 10, 20, 25]]], float)
    union = np.zeros(SIZE, bool)
    union[4:10, 10:30] = union[8:12, 5:15] = True
    mass = maps[1] - maps[1].min()
    expected = [(maps[0] * union).sum() / 200, mass[:20, :25].sum() / mass.sum()]
    np.testing.assert_allclose(energy_pointing_game(maps, boxes), expected)
    shares = energy_pointing_game(maps, boxes, max_box_share=0.2)
    assert np.isnan(shares).tolist() == [False, True]  # the second image's boxes cover a quarter
    assert shares[0] == pytest.approx(expected[0])


def test_energy_of_a_constant_but_for_one_pixel_is_the_share_of_the_box():
    fake = np.ones((1, *SIZE))
    fake[0, 0, 0] = 0
    boxes = np.array([[[10, 10, 20, 35]]], float)
    assert energy_pointing_game(fake, boxes) == pytest.approx(250 / 1999)


def test_negative_values_are_scaled_or_cut():
    maps = np.zeros((1, *SIZE))
    maps[0, :10, :10], maps[0, 20:30, :10] = 1, -1
    boxes = np.array([[[0, 0, 10, 10]]], float)
    assert energy_pointing_game(maps, boxes, negative="relu") == pytest.approx(1)
    assert energy_pointing_game(maps, boxes) == pytest.approx(100 / (100 + 0.5 * 1800))
    assert energy_pointing_game(-np.abs(maps), boxes, negative="relu") == 0


def hits_by_scipy(one, boxes, iou):
    """How many of the levels of IoU each grey level reaches."""
    span = one.max() - one.min()
    grey = ((one - one.min()) / span * 255).astype(int) if span > 0 else np.zeros(one.shape, int)
    found = boxes_by_scipy(grey, 255)
    best = np.array([max(iou_exact(box, true) for true in boxes) for box in found])
    return sum((best >= level).astype(int) for level in iou)


def iou_exact(a, b):
    both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return both / (areas - both) if areas else 0


@pytest.mark.parametrize("iou", [(0.5,), (0.3, 0.5, 0.7)])
def test_box_hits_and_accuracy_equal_a_search(iou):
    maps = resample(RNG.random((8, 5, 5)) ** 3, SIZE)
    maps[7] = 2
    corners = RNG.uniform(0, 15, (8, 2, 2))
    boxes = np.concatenate([corners, corners + RNG.uniform(5, 25, (8, 2, 2))], axis=2)
    expected = np.stack([hits_by_scipy(one, two, iou) for one, two in zip(maps, boxes, strict=True)])
    hits = box_hits(maps, boxes, iou=iou)
    np.testing.assert_array_equal(hits, expected)
    assert not hits[7].any()
    best = [max((expected[:, t] > level).mean() for t in range(255)) for level in range(len(iou))]
    assert box_accuracy(hits, iou=iou) == pytest.approx(np.mean(best))
    assert 0 < np.mean(best) < 1


def test_thresholds_are_those_of_wsolevaluation():
    """Its thousand thresholds, the largest contour by OpenCV, on maps with one part and no holes."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    maps = np.stack([np.exp(-((y - a) ** 2 / 60 + (x - b) ** 2 / 90)) for a, b in ((12, 14), (20, 33), (25, 25))])
    boxes = np.array([[[5, 8, 20, 24]], [[10, 20, 30, 45]], [[0, 0, 12, 12]]], float)
    expected = []
    for one, (box,) in zip(maps, boxes, strict=True):
        grey = ((one - one.min()) / (one.max() - one.min()) * 255).astype(np.uint8)
        row = []
        for threshold in np.arange(0, 1, 0.001):
            _, mask = cv2.threshold(grey, int(threshold * grey.max()), 255, cv2.THRESH_BINARY)
            contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            left, top, width, height = cv2.boundingRect(max(contours, key=cv2.contourArea))
            row.append(iou_exact((top, left, top + height, left + width), box) >= 0.5)
        expected.append(row)
    assert box_accuracy(box_hits(maps, boxes)) == np.mean(expected, axis=0).max()
    assert box_hits(maps, boxes).any(1).tolist() == np.any(expected, axis=1).tolist() == [True, True, False]


@pytest.mark.parametrize("value", [0.0, 5.0, np.nan, -np.inf])
def test_degenerate_maps_get_the_stated_scores_and_leave_others_alone(value):
    maps = np.stack([drawn((10, 5, 14, 45)), np.full(SIZE, value, np.float32)])
    boxes = np.array([[[10, 5, 14, 45]]] * 2, float)
    parameters = {"pointing_game": {"tolerance": 0}}
    scores = score_localization(maps, boxes, np.array([True, True]), parameters)
    share = 160 / 2000
    assert {name: values[1] for name, values in scores.items()} == {
        "localization_error": True,
        "official_metric": True,
        "pixel_f1": 0,
        "pointing_game": pytest.approx(share),
        "pointing_game_exact": pytest.approx(share),
        "energy_pointing_game": 0,
    }
    alone = score_localization(maps[:1], boxes[:1], np.array([True]), parameters)
    assert {name: values[0] for name, values in scores.items()} == {name: values[0] for name, values in alone.items()}


def test_without_predictions_there_is_no_official_metric():
    scores = score_localization(drawn((1, 1, 4, 4))[None], np.array([[[1, 1, 4, 4]]], float))
    pointing = {"pointing_game", "pointing_game_exact", "energy_pointing_game"}
    assert set(scores) == {"localization_error", "pixel_f1", *pointing}
    assert scores["localization_error"].dtype == bool


def test_scores_lie_in_the_stated_ranges():
    maps = resample(RNG.standard_normal((30, 6, 6)), SIZE)
    corners = RNG.uniform(0, 25, (30, 2, 2))
    boxes = np.concatenate([corners, corners + RNG.uniform(1, 15, (30, 2, 2))], axis=2)
    for name, values in score_localization(maps, boxes, RNG.random(30) < 0.5).items():
        low, high = METRICS[name].range
        assert ((values >= low) & (values <= high)).all()


def test_images_without_boxes_are_told_apart():
    assert has_boxes(np.array([[NONE, [1, 2, 3, 4]], [NONE, NONE]])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("maps", "boxes"),
    [
        (np.ones((2, 5, 5)), np.ones((1, 1, 4))),
        (np.ones((1, 5, 5)), np.ones((1, 4))),
        (np.ones((1, 5, 5)), np.array([[[3, 0, 1, 2]]])),
    ],
)
def test_impossible_input_is_refused(maps, boxes):
    with pytest.raises(ValueError, match="box"):
        score_localization(maps, boxes)
