"""The figures of methods: what is drawn is what was measured."""

import numpy as np
import pytest
from studies import METHOD_TITLES, make_method_inputs

from camstudy.figures import FIGURES


def draw(name, *args, **kwargs):
    return FIGURES[name].function(*args, **kwargs)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_curves_are_drawn_for_every_method_and_control():
    inputs = make_method_inputs(models=("net", "other"))
    figure = draw("insertion_deletion", inputs)
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == ["NET: insertion", "NET: deletion", "OTHER: insertion", "OTHER: deletion"]
    assert legend(figure) == [*METHOD_TITLES.values(), "Center bias"]
    curves = inputs.curves
    for axis, (model, curve) in zip(
        figure.axes, [(m, c) for m in ("net", "other") for c in ("insertion", "deletion")], strict=True
    ):
        for line, method in zip(axis.lines, [*METHOD_TITLES, "center_bias"], strict=True):
            wanted = curves[(curves["model"] == model) & (curves["method"] == method) & (curves["curve"] == curve)]
            np.testing.assert_allclose(line.get_ydata(), wanted["mean"])
            np.testing.assert_allclose(line.get_xdata(), [0, 25, 50, 75, 100])


def test_every_line_looks_different():
    inputs = make_method_inputs()
    looks = {(line.get_color(), str(line.get_linestyle())) for line in draw("insertion_deletion", inputs).axes[0].lines}
    assert len(looks) == len(METHOD_TITLES) + 1


def test_faithfulness_is_plotted_against_localisation():
    inputs = make_method_inputs()
    figure = draw("faithfulness_localization", inputs)
    assert legend(figure) == [*METHOD_TITLES.values(), "Center bias"]
    scores = inputs.scores.set_index(["model", "method", "metric"])["mean"]
    pairs = [("average_gain", "pixel_f1"), ("insertion_auc", "box_accuracy")]
    for axis, (x, y) in zip(figure.axes, pairs, strict=True):
        found = [container.lines[0].get_xydata()[0] for container in axis.containers]
        expected = [[100 * scores["net", method, metric] for metric in (x, y)] for method in METHOD_TITLES]
        expected.append([100 * scores["net", "center_bias", x], 100 * scores["control", "center_bias", y]])
        np.testing.assert_allclose(found, expected)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    maps = {(m, e): rng.random((2, 7, 7), dtype=np.float32) for m in ("Net", "Other") for e in ("A", "B", "C")}
    return images, rng.random((2, 8, 8), dtype=np.float32), maps


def test_the_grid_has_a_row_per_image_and_model(pictures):
    images, human, maps = pictures
    maps["Net", "B"][0] = 1
    objects = [np.array([[16, 0, 32, 64]]), np.array([[0, 0, 8, 8], [32, 32, 64, 64]])]
    predicted = {"Net": ["cat", "dog"], "Other": ["cat", "cat"]}
    stated = {"objects": objects, "predicted": predicted, "human_title": "human map (simulated)"}
    figure = draw("method_grid", images, human, maps, ["cat", "dog"], **stated, scores={})
    written = [" ".join(text.get_text().split()) for text in figure.texts]
    assert written.count("human map (simulated)") == 1
    assert len(figure.axes) == 4 * (2 + 3) + 1
    words = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert sum("degenerate" in found for found in words) == 1
    assert written.count("→ cat") == 1
    assert written.count("cat") == written.count("dog") == 2
    # In the pixels of the panel, 224 for 64 of the image.
    first = figure.axes[0].patches[0]
    assert (first.get_x(), first.get_y()) == pytest.approx((-0.5, 55.5))
    assert (first.get_width(), first.get_height()) == pytest.approx((224, 56))
    assert len(figure.axes[10].patches) == 2 * 2  # each with an edge that shows on any image


def test_the_grid_needs_neither_people_nor_boxes(pictures):
    images, _, maps = pictures
    assert len(draw("method_grid", images, None, maps, ["cat", "dog"]).axes) == 4 * (1 + 3) + 1
