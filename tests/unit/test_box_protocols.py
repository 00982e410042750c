"""Settings of localization: tolerances in pixels of photographs, and boxes of all parts of a map."""

import cv2
import numpy as np
import pytest
from localized import score_localization
from scipy import ndimage

from camstudy.core.geometry import COMPARISON_SIZE, boxes_in_view, resample
from camstudy.metrics.components import best_overlaps
from camstudy.metrics.localization import box_accuracy, box_hits, pointing_game
from camstudy.metrics.localization_protocol import parameters_of
from camstudy.models.inputs import crop_boxes
from camstudy.study.protocols import shipped

RNG = np.random.default_rng(0)
SIZE = (40, 50)


def drawn(*boxes, size=SIZE):
    canvas = np.zeros(size, int)
    for top, left, bottom, right in boxes:
        canvas[top:bottom, left:right] = 1
    return canvas


# ---- components


def iou(a, b):
    both = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return both / (areas - both) if both else 0


def every_box(mask):
    """The boxes of all 4-connected parts, by scipy."""
    labels, _ = ndimage.label(mask)
    return [(r.start, c.start, r.stop, c.stop) for r, c in ndimage.find_objects(labels)]


@pytest.mark.parametrize(("count", "size"), [(1, (9, 7)), (4, (9, 7)), (60, (24, 20)), (3, (1, 12)), (2, (1, 1))])
def test_best_overlaps_equal_a_search_through_all_parts(count, size):
    noise = RNG.integers(0, count + 1, (12, *size))
    smooth = (resample(RNG.random((12, 5, 5)), size) * (count + 0.999)).astype(int)
    for levels in (noise, smooth):
        low = RNG.uniform(0, 0.6, (12, 2, 2)) * size
        boxes = np.concatenate([low, low + 0.4 * np.array(size)], 2)
        boxes[::3, 1] = 0
        expected = [
            [max((iou(box, one) for box in every_box(image > t) for one in true), default=0) for t in range(count)]
            for image, true in zip(levels, boxes, strict=True)
        ]
        np.testing.assert_array_equal(best_overlaps(levels, count, boxes), expected)


@pytest.mark.parametrize("levels", [(0.5,), (0.3, 0.5, 0.7)])
def test_hits_of_all_parts_equal_a_direct_statement(levels):
    """Of each image, threshold and overlap: whether the box of some part meets some object."""
    maps = resample(RNG.random((8, 6, 6)) ** 3, SIZE)
    maps[6], maps[7] = drawn((0, 0, 20, 20), (30, 28, 39, 45)), 2
    low = RNG.uniform(0, 15, (8, 2, 2))
    boxes = np.concatenate([low, low + RNG.uniform(5, 20, (8, 2, 2))], axis=2)
    boxes[6, 1] = [31, 30, 39, 45]  # on the smaller part
    found = np.zeros((8, 255, len(levels)), bool)
    for i, (one, true) in enumerate(zip(maps, boxes, strict=True)):
        span = np.ptp(one)
        grey = ((one - one.min()) / span * 255).astype(int) if span else np.zeros(SIZE, int)
        for t in range(255):
            best = max((iou(box, other) for box in every_box(grey > t) for other in true), default=0)
            found[i, t] = best >= np.array(levels)
    hits = box_hits(maps, boxes, iou=levels, components="all")
    np.testing.assert_array_equal(hits, found.sum(2))
    assert box_accuracy(hits, iou=levels) == pytest.approx(found.mean(0).max(0).mean())
    assert (hits >= box_hits(maps, boxes, iou=levels)).all()
    assert (hits > box_hits(maps, boxes, iou=levels)).any()
    assert not hits[7].any()


def contours(mask):
    """The boxes of all contours of OpenCV, as the released code asks for them, but for its border of one pixel."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    rectangles = map(cv2.boundingRect, found)
    return {(top, left, top + height, left + width) for left, top, width, height in rectangles}


def test_contours_of_opencv_are_our_parts_where_there_are_no_holes():
    mask = drawn((3, 4, 10, 12), (20, 30, 25, 31), (30, 5, 38, 40))
    assert contours(mask) == set(every_box(mask))


def test_contours_of_opencv_have_a_box_around_each_hole_too():
    """It is a pixel wider than the hole on each side: the pixels of the part that surround it."""
    mask = drawn((5, 5, 30, 40))
    mask[10:15, 20:30] = 0
    assert every_box(mask) == [(5, 5, 30, 40)]
    assert contours(mask) == {(5, 5, 30, 40), (9, 19, 16, 31)}
    # An object in the hole is found by that box alone, which is of no part of the map.
    hole = np.array([[[10, 20, 15, 30]]], float)
    assert best_overlaps(mask[None], 1, hole)[0, 0] < 0.1
    assert iou((9, 19, 16, 31), hole[0, 0]) > 0.5
    # And the largest by area counts its holes as its own.
    ring = drawn((0, 0, 20, 20), (25, 0, 38, 20))
    ring[1:19, 1:19] = 0
    outer, _ = cv2.findContours(ring.astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    left, top, width, height = cv2.boundingRect(max(outer, key=cv2.contourArea))
    assert (top, left, top + height, left + width) == (0, 0, 20, 20)
    assert max(every_box(ring), key=lambda box: ring[box[0] : box[2], box[1] : box[3]].sum()) == (25, 0, 38, 20)


# ---- tolerance


@pytest.mark.parametrize("tolerance", [0, 3, 7.5])
def test_distances_are_in_the_pixels_that_are_named(tolerance):
    """Every pair of a maximum and a pixel of a box, in pixels that are not square."""
    maps = np.floor(resample(RNG.random((10, 5, 5)), SIZE) * 8)
    low = RNG.uniform(0, 25, (10, 2, 2))
    boxes = np.concatenate([low, low + RNG.uniform(1, 10, (10, 2, 2))], axis=2)
    pixel = RNG.uniform(0.3, 3, (10, 2))
    expected = []
    for one, true, (height, width) in zip(maps, boxes, pixel, strict=True):
        rows, columns = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
        inside = np.zeros(SIZE, bool)
        for top, left, bottom, right in true:
            inside |= (top <= rows) & (rows < bottom) & (left <= columns) & (columns < right)
        members, peaks = np.argwhere(inside), np.argwhere(one == one.max())
        distances = [np.hypot(*((members - peak) * [height, width]).T).min() for peak in peaks]
        expected.append(np.mean([distance < tolerance or distance == 0 for distance in distances]))
    found = pointing_game(maps, boxes, tolerance=tolerance, pixel=pixel)
    np.testing.assert_allclose(found, expected)
    assert 0 < found.mean() < 1


INPUT = {"size": 224, "crop_pct": 0.875}


def test_a_photograph_of_375_pixels_has_22_for_15_of_the_input():
    (view,) = crop_boxes(INPUT, np.array([[375, 500]]))
    pixel = np.array([375, 500]) * (view[2:] - view[:2]) / 224
    np.testing.assert_allclose(15 * pixel, 22, atol=0.05)


def test_tolerance_of_photographs_is_torchrays():
    """Its statement, at the photograph's own resolution: a disc around the maximum meets the mask of the boxes."""
    sizes, n = np.array([[375, 500], [500, 333], [300, 300]]), 60
    hits, stated, ours = [], [], []
    for size in sizes:
        (view,) = crop_boxes(INPUT, size[None])
        pixel = size * (view[2:] - view[:2]) / 224
        rows, columns = np.mgrid[: size[0], : size[1]]
        for _ in range(n):
            corner = RNG.integers(40, size // 2)
            box = np.array([*corner, *(corner + RNG.integers(10, 60, 2))])
            peak = RNG.integers(20, 204, 2)
            maps = np.zeros((1, 224, 224))
            maps[0, peak[0], peak[1]] = 1
            point = view[:2] * size + (peak + 0.5) * pixel - 0.5  # in pixels of the photograph, the first at 0
            mask = np.zeros(size, bool)
            mask[box[0] : box[2], box[1] : box[3]] = True
            distance = np.hypot(rows - point[0], columns - point[1])
            nearest = distance[mask].min()
            # A pixel of the input is up to 1.5 of the photograph: nearer to the edge of the disc, either is right.
            if abs(nearest - 15) > 1.5:
                hits.append((mask & (distance < 15)).any())
                seen, _ = boxes_in_view(box[None, None], size[None], view[None])
                for of, results in (("photograph", stated), ("input", ours)):
                    settings = shipped()["boxes_torchray"] | {"pointing_tolerance": {"pixels": 15, "of": of}}
                    scores = score_localization(maps, seen, parameters=parameters_of(settings, pixel[None]))
                    results.append(bool(scores["pointing_game"][0]))
    assert len(hits) > 100
    assert stated == hits
    assert sum(ours) > sum(hits)


def test_a_number_is_of_the_input():
    maps, pixel = RNG.random((5, *COMPARISON_SIZE)), np.full((5, 2), 1.47)
    boxes = np.array([[[50, 60, 120, 130]]] * 5, float)
    both = [
        score_localization(
            maps, boxes, parameters=parameters_of(shipped()["boxes"] | {"pointing_tolerance": one}, pixel)
        )
        for one in (40, {"pixels": 40, "of": "input"})
    ]
    for name, values in both[0].items():
        np.testing.assert_array_equal(values, both[1][name])


def test_protocols_are_named_after_what_they_follow():
    boxes, v2, torchray = (shipped()[name] for name in ("boxes", "boxes_v2", "boxes_torchray"))
    assert (v2["components"], v2["iou"], boxes["components"]) == ("all", [0.3, 0.5, 0.7], "largest")
    assert torchray["pointing_tolerance"] == {"pixels": 15, "of": "photograph"}
    assert torchray["pointing_ties"] == "first"
