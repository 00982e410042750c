"""Figures of compared models: which panels there are, and that each shows the map of its model and method."""

import numpy as np
import pytest

from camstudy.core.errors import CamstudyError
from camstudy.figures import FIGURES
from camstudy.figures.pictures import overlay

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
PAIRS = [("Net", ["Plain", "Guided"]), ("Other", ["Alone"])]
METHODS = {"Gradient": "input_gradient", "Guided backpropagation": "guided_backprop", "Grad-CAM": "gradcam"}
MAPS = {
    (model, method): RNG.random((2, 8, 8)).astype(np.float32)
    for _, models in PAIRS
    for model in models
    for method in METHODS
}


def pictures(figure):
    """Return what the panels show, in reading order."""
    panels = sorted(figure.axes, key=lambda axes: (-round(axes.get_position().y0, 3), axes.get_position().x0))
    shown = [np.asarray(panel.images[0].get_array()) for panel in panels if panel.images]
    return [picture for picture in shown if picture.shape[0] > 1]  # not the scale of colours


def draw(name, maps=MAPS, methods=METHODS):
    return FIGURES[name].function(IMAGES, None, maps, ["cat", "dog"], pairs=PAIRS, methods=methods, boxes=None)


def test_gradients_stand_beside_guided_ones_model_by_model():
    figure = draw("gradients")
    shown = pictures(figure)
    # Two rows of an image and two gradients of two models, then two of one model.
    assert len(shown) == 2 * 5 + 2 * 3
    order = [("Plain", "Gradient"), ("Plain", "Guided backpropagation"), ("Guided", "Gradient")]
    for position, key in enumerate(order):
        values = MAPS[key][1]
        low, high = np.quantile(values, [0.01, 0.99])
        expected = np.clip((values - low) / (high - low), 0, 1)
        np.testing.assert_allclose(shown[5 + 1 + position], expected, atol=1e-6)
    texts = {" ".join(text.get_text().split()) for text in figure.texts}
    assert {"gradient: Plain", "guided gradient: Guided", "Net", "Other"} <= texts
    assert any("percentile 1 to 99" in text for text in texts)


def test_maps_of_a_method_stand_side_by_side():
    shown = pictures(draw("map_pairs"))
    assert len(shown) == 2 * 7 + 2 * 4
    expected = overlay(MAPS["Guided", "Gradient"][0], IMAGES[0], (0, 0, 1, 1))
    np.testing.assert_allclose(shown[2], expected)


def test_a_method_that_cannot_explain_a_model_leaves_its_place_empty():
    maps = {key: values for key, values in MAPS.items() if key != ("Guided", "Grad-CAM")}
    assert len(pictures(draw("map_pairs", maps))) == 2 * 6 + 2 * 4


def test_a_study_without_gradients_is_told_what_to_add():
    with pytest.raises(CamstudyError, match="`gradients`: add methods of `input_gradient`"):
        draw("gradients", methods={"Grad-CAM": "gradcam"})
