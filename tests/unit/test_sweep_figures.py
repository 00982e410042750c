"""Figures of sweeps and costs: the curves and points are the inputs' numbers."""

import dataclasses

import numpy as np
import pytest
from studies import ARCHITECTURES, FLOORS, STAGES, make_inputs, with_sweeps

from camstudy.figures import FIGURES
from camstudy.figures.sweeps import BASELINE, VARIANT

METHODS = ("gradcam", "threshold_gradcam")
NUMBERS = [floor for floor in FLOORS if floor is not None]


@pytest.fixture
def inputs():
    return with_sweeps(make_inputs())


def draw(name, inputs):
    return FIGURES[name].function(inputs)


def values(frame, model, method, column):
    """Return (value of a column, mean) of a model and method."""
    rows = frame[(frame["model"] == model) & (frame["method"] == method)]
    return list(zip(rows[column], rows["mean"], strict=True))


def curves(axis):
    """Return the points of each drawn line, without dots and reference lines."""
    lines = [line.get_xydata() for line in axis.lines if line.get_linestyle() != "None"]
    return [[tuple(point) for point in line] for line in lines if len(line) > 2]


def test_a_panel_per_architecture_with_four_curves(inputs):
    figure = draw("threshold_sweep", inputs)
    assert [axis.get_title(loc="left") for axis in figure.axes] == list(ARCHITECTURES.values())
    for axis, name in zip(figure.axes, ARCHITECTURES, strict=True):
        expected = []
        for method in METHODS:
            for model in (name, f"{name}_dcls"):
                expected.append([pair for pair in values(inputs.sweep, model, method, "floor") if pair[0] >= 0])
        assert curves(axis) == expected
        bands = [collection.get_paths()[0].vertices[:, 1] for collection in axis.collections[:4]]
        for band, curve in zip(bands, expected, strict=True):
            means = [mean for _, mean in curve]
            assert band.min() == pytest.approx(min(means) - 0.02)
            assert band.max() == pytest.approx(max(means) + 0.03)


def test_raw_maps_stand_apart(inputs):
    figure = draw("threshold_sweep", inputs)
    for axis, name in zip(figure.axes, ARCHITECTURES, strict=True):
        raw = {
            round(mean, 9)
            for model in (name, f"{name}_dcls")
            for method in METHODS
            for floor, mean in values(inputs.sweep, model, method, "floor")
            if np.isnan(floor)
        }
        dots = [line.get_xydata()[0] for line in axis.lines if line.get_marker() == "o"]
        assert {round(y, 9) for _, y in dots} == raw
        assert all(x < 0 for x, _ in dots)
    labels = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
    assert labels[0] == "raw"
    assert labels[1:3] == ["0", "0.1"]


def test_baseline_and_dcls_differ_in_colour_and_methods_in_line(inputs):
    for name in ("threshold_sweep", "layer_sweep"):
        axis = draw(name, inputs).axes[0]
        drawn = [line for line in axis.lines if len(line.get_xdata()) > 2]
        assert [line.get_color() for line in drawn] == [BASELINE, VARIANT] * 2
        assert len({line.get_linestyle() for line in drawn}) == 2


def test_stages_are_in_their_order_from_the_first_to_the_last(inputs):
    figure = draw("layer_sweep", inputs)
    for axis, name in zip(figure.axes, ARCHITECTURES, strict=True):
        expected = []
        for method in METHODS:
            for model in (name, f"{name}_dcls"):
                means = dict(values(inputs.layers, model, method, "stage"))
                expected.append([(place, means[stage]) for place, stage in enumerate(STAGES)])
        assert curves(axis) == expected
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["1", "2", "-1"]


@pytest.mark.parametrize(("count", "bottom"), [(1, [0]), (4, [2, 3]), (6, [3, 4, 5]), (7, [4, 5, 6])])
def test_the_lowest_panels_name_the_axis(count, bottom):
    inputs = with_sweeps(make_inputs({f"arch_{n}": f"Architecture {n}" for n in range(count)}))
    for name, label in (("threshold_sweep", "floor"), ("layer_sweep", "stage")):
        figure = draw(name, inputs)
        assert len(figure.axes) == count
        assert [n for n, axis in enumerate(figure.axes) if axis.get_xlabel() == label] == bottom


def test_scores_that_are_missing_are_left_out(inputs):
    frames = {key: getattr(inputs, key) for key in ("sweep", "layers")}
    without = {key: frame[frame["model"] != "resnet_mini"] for key, frame in frames.items()}
    for name in ("threshold_sweep", "layer_sweep"):
        assert len(curves(draw(name, dataclasses.replace(inputs, **without)).axes[0])) == 2


def test_cost_has_a_row_of_panels_for_each_quantity(inputs):
    figure = draw("alignment_cost", inputs)
    look = [
        lambda record: record["multiply_adds"]["dense"] / 1e9,
        lambda record: record["images_per_second"]["folded"],
    ]
    assert len(figure.axes) == 4
    scores = inputs.scores[inputs.scores["metric"] == "alignment"]
    for place, axis in enumerate(figure.axes):
        number, method = look[place % 2], METHODS[place // 2]
        points = {}
        for name in ARCHITECTURES:
            for model in (name, f"{name}_dcls"):
                mean = scores[(scores["model"] == model) & (scores["method"] == method)]["mean"].item()
                points[model] = (number(inputs.cost[model]), mean)
        dots = [line for line in axis.lines if line.get_marker() not in ("None", None, "")]
        assert np.array([line.get_xydata()[0] for line in dots]) == pytest.approx(np.array(list(points.values())))
        assert [line.get_markerfacecolor() == "white" for line in dots] == [True, False] * 4
        arrows = [text for text in axis.texts if text.arrow_patch is not None]
        for arrow, name in zip(arrows, ARCHITECTURES, strict=True):
            assert arrow.xyann == pytest.approx(points[name])
            assert arrow.xy == pytest.approx(points[f"{name}_dcls"])
    assert figure.get_supxlabel() == "images per second: NVIDIA A100, batches of 32"
