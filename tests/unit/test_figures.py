import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import ArrowStyle
from scipy.ndimage import zoom
from studies import ARCHITECTURES, CONTROLS, make_inputs

from camstudy.core.errors import CamstudyError
from camstudy.core.names import CONTROL
from camstudy.figures import FIGURES, save
from camstudy.figures.alignment import _levels

UNIT_TESTS = Path(__file__).parent
METHODS = ("gradcam", "threshold_gradcam")
EIGHT = {f"arch_{n}": f"Architecture-{n}" for n in range(8)}


def draw(name, *args, **kwargs):
    return FIGURES[name].function(*args, **kwargs)


def score(inputs, model, method, metric, column="mean"):
    wanted = (model, method, metric)
    for row in inputs.scores.to_dict("records"):
        if (row["model"], row["method"], row["metric"]) == wanted:
            return row[column]
    raise AssertionError(f"no score {wanted}")


def dots(axis):
    """Return ((x, y), filled) of every marker of an axes."""
    lines = [line for line in axis.lines if line.get_marker() not in ("None", None, "")]
    return [(tuple(line.get_xydata()[0]), line.get_markerfacecolor() != "white") for line in lines]


def bars(axis):
    """Return the ends of every error bar."""
    return [segment for lines in axis.collections for segment in lines.get_segments()]


def texts(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def picture(axis):
    """Return the RGB values that a panel shows."""
    return np.asarray(axis.images[0].get_array())


def pictures(count=2, size=32):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    human = rng.random((count, 64, 64), dtype=np.float32)
    maps = {
        (model, method): rng.random((count, 7, 7), dtype=np.float32)
        for model in ("ResNet-mini", "ResNet-mini DCLS", "FastViT-mini")
        for method in ("Grad-CAM", "Threshold-Grad-CAM")
    }
    return images, human, maps, ["3", "7", "1", "0"][:count]


def test_alignment_plots_every_estimate_with_its_interval():
    inputs = make_inputs()
    figure = draw("alignment", inputs)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["Grad-CAM", "Threshold-Grad-CAM"]
    for axis, method in zip(figure.axes, METHODS, strict=True):
        expected, intervals = [], []
        for name in ARCHITECTURES:
            for model, filled in ((name, False), (f"{name}_dcls", True)):
                expected.append((score(inputs, model, method, "alignment"), filled))
                ends = [score(inputs, model, method, "alignment", end) for end in ("ci_low", "ci_high")]
                intervals.append(ends)
        assert [(x, filled) for (x, _), filled in dots(axis)] == expected
        assert np.array(bars(axis))[:, :, 0] == pytest.approx(np.array(intervals))
        # One line per architecture from top to bottom, its two dots apart.
        heights = [y for (_, y), _ in dots(axis)]
        assert heights == sorted(heights)
        assert [round(y) for y in heights] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert axis.get_ylim()[0] > axis.get_ylim()[1]
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == list(ARCHITECTURES.values())


def test_alignment_shows_controls_as_labelled_bands_and_significance():
    figure = draw("alignment", make_inputs())
    for axis, marks in zip(figure.axes, (["***", "*", "***", "*"], ["**", "**"]), strict=True):
        bands = {(round(patch.get_x(), 6), round(patch.get_x() + patch.get_width(), 6)) for patch in axis.patches}
        assert bands == {(low, high) for _, low, high in CONTROLS.values()}
        labels = {text.get_text(): text.xy[0] for text in axis.texts}
        for label, control in (("random", "random"), ("human split-half", "human_split_half")):
            assert labels[label] == CONTROLS[control][0]
        assert [text.get_text() for text in axis.texts if set(text.get_text()) == {"*"}] == marks
    told = figure.get_supxlabel()
    assert "Wilcoxon" in told
    assert "Holm-corrected for 8 tests" in told
    assert "* p < 0.05, ** p < 0.01, *** p < 0.001, and the interval excludes 0" in told


def test_labels_of_close_controls_go_to_different_lines():
    assert _levels([0.0, 1.0, 3.0], [0.8, 0.8, 0.8]) == [0, 0, 0]
    assert _levels([0.0, 0.1, 0.2, 3.0], [0.8, 0.8, 0.8, 0.8]) == [0, 1, 2, 0]
    assert _levels([0.0, 0.5, 0.9], [0.8, 0.8, 0.8]) == [0, 1, 0]
    assert _levels([], []) == []


@pytest.mark.parametrize("name", ["alignment", "accuracy_alignment"])
def test_without_comparisons_each_model_is_one_filled_dot(name):
    inputs = make_inputs(compare=False, controls=())
    figure = draw(name, inputs)
    for axis in figure.axes:
        assert len(dots(axis)) == 8
        assert all(filled for _, filled in dots(axis))
    assert figure.legends == []


@pytest.mark.parametrize("name", ["alignment", "accuracy_alignment"])
def test_missing_alignments_are_left_out(name):
    inputs = make_inputs(methods=("gradcam",), controls=("random",))
    scores = inputs.scores[~inputs.scores["model"].isin(["resnet_mini", CONTROL])]
    figure = draw(name, dataclasses.replace(inputs, scores=scores))
    assert len(figure.axes) == 1
    assert len(dots(figure.axes[0])) == 7
    assert "random" not in texts(figure)


def test_accuracy_alignment_plots_both_coordinates_and_an_arrow():
    inputs = make_inputs()
    figure = draw("accuracy_alignment", inputs)
    for axis, method in zip(figure.axes, METHODS, strict=True):
        points = {}
        for name in ARCHITECTURES:
            for model in (name, f"{name}_dcls"):
                x, y = 100 * score(inputs, model, "", "top1"), score(inputs, model, method, "alignment")
                points[model] = (x, y)
        found = [point for point, _ in dots(axis)]
        assert np.array(found) == pytest.approx(np.array(list(points.values())))
        assert [filled for _, filled in dots(axis)] == [False, True] * 4
        arrows = [text for text in axis.texts if text.arrow_patch is not None]
        for arrow, name in zip(arrows, ARCHITECTURES, strict=True):
            assert arrow.xyann == pytest.approx(points[name])
            assert arrow.xy == pytest.approx(points[f"{name}_dcls"])
        first = np.array(bars(axis)[:2]).reshape(-1, 2)
        low, high = (100 * score(inputs, "resnet_mini", "", "top1", end) for end in ("ci_low", "ci_high"))
        assert first[:, 0].min() == pytest.approx(low)
        assert first[:, 0].max() == pytest.approx(high)
        assert first[:, 1].min() == pytest.approx(score(inputs, "resnet_mini", method, "alignment", "ci_low"))


def test_accuracy_alignment_labels_do_not_overlap_each_other_or_a_dot():
    figure = draw("accuracy_alignment", make_inputs(EIGHT, seed=3))
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = [text.get_window_extent() for text in axis.texts if text.get_text() in EIGHT.values()]
        assert len(boxes) == 8
        for n, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:n])
            assert not any(box.contains(*axis.transData.transform(point)) for point, _ in dots(axis))
            assert axis.bbox.x0 <= box.x0
            assert box.x1 <= axis.bbox.x1


def test_points_that_coincide_are_both_seen_and_arrows_without_room_have_no_head():
    inputs = make_inputs({"resnet_mini": "ResNet", "convnext_mini": "A convolutional network with a very long title"})
    scores = inputs.scores
    for metric in ("top1", "alignment"):
        rows = (scores["metric"] == metric) & scores["model"].isin(["resnet_mini", "resnet_mini_dcls"])
        scores.loc[rows, ["mean", "ci_low", "ci_high"]] = [0.9, 0.89, 0.91]
    figure = FIGURES["accuracy_alignment"].function(inputs)
    panel = figure.axes[0]
    baseline, variant = (line for line in panel.lines if line.get_label() == "ResNet")
    assert np.array_equal(baseline.get_xydata(), variant.get_xydata())
    # The ring is outside of the dot that lies on it.
    across = [line.get_markersize() + side * line.get_mew() for line, side in ((baseline, -1), (variant, 1))]
    assert across[0] > across[1] + 0.5
    arrows = [text.arrow_patch for text in panel.texts if text.arrow_patch]
    headless = [isinstance(arrow.get_arrowstyle(), ArrowStyle.Curve) for arrow in arrows]
    assert headless == [True, False]
    long = next(text for text in panel.texts if "long" in text.get_text())
    assert "\n" in long.get_text()
    box, frame = long.get_window_extent(), panel.bbox
    assert frame.x0 <= box.x0
    assert box.x1 <= frame.x1


def test_an_axis_is_wide_where_all_values_are_the_same():
    inputs = make_inputs({"resnet_mini": "ResNet"}, controls=("random",))
    inputs.scores.loc[inputs.scores["metric"] == "alignment", ["mean", "ci_low", "ci_high"]] = 0.0
    low, high = FIGURES["alignment"].function(inputs).axes[0].get_xlim()
    assert low <= -0.01 < 0.01 <= high


def test_accuracy_alignment_names_architectures_without_accuracy():
    inputs = make_inputs()
    without = ~(inputs.scores["model"].isin(["resnet_mini", "resnet_mini_dcls"]) & (inputs.scores["metric"] == "top1"))
    figure = draw("accuracy_alignment", dataclasses.replace(inputs, scores=inputs.scores[without]))
    assert figure.get_supxlabel() == "bars: 95% confidence intervals\nno accuracy: ResNet-mini"
    assert "ResNet-mini" not in texts(figure)
    with pytest.raises(CamstudyError, match="needs accuracies"):
        draw("accuracy_alignment", make_inputs(accuracy=False))


def test_qualitative_has_a_panel_for_every_map():
    images, human, maps, labels = pictures()
    figure = draw("qualitative", images, human, maps, labels, human_title="human map (simulated)")
    assert len(figure.axes) == 2 * (2 + 6) + 1  # image, human map, 3 models x 2 methods; the colour scale
    assert all(axis.images for axis in figure.axes)
    titles = [text.get_text().replace("\n", " ") for text in figure.texts]
    for title in ("image", "human map (simulated)", "ResNet-mini", "ResNet-mini DCLS", "FastViT-mini", "3", "7"):
        assert titles.count(title) == 1
    assert titles.count("Grad-CAM") == 2


def test_qualitative_panels_do_not_overlap_and_stay_on_the_page():
    images, human, maps, labels = pictures()
    figure = draw("qualitative", images, human, maps, labels)
    places = [axis.get_position() for axis in figure.axes]
    for n, place in enumerate(places):
        assert 0 <= place.x0 < place.x1 <= 1
        assert 0 <= place.y0 < place.y1 <= 1
        assert not any(place.overlaps(other) for other in places[:n])
    sides = [axis.get_window_extent().size for axis in figure.axes[:-1]]
    assert all(width == pytest.approx(height) for width, height in sides)


def test_qualitative_shows_image_and_heat_where_they_are():
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, :16] = (255, 0, 0)
    heat = np.zeros((1, 4, 4), np.float32)
    heat[0, 3, 0] = 5.0
    figure = draw("qualitative", image, np.ones((1, 64, 64), np.float32), {("m", "g"): heat}, ["x"])
    shown = picture(figure.axes[0])
    assert shown.shape == (224, 224, 3)
    assert shown[50, 100] == pytest.approx((1, 0, 0))
    assert shown[200, 100] == pytest.approx((0, 0, 0))
    overlay = picture(figure.axes[2])
    brightest = np.unravel_index(overlay[112:].sum(axis=-1).argmax(), (112, 224))
    assert brightest[0] + 112 >= 168
    assert brightest[1] < 56
    # Above, where there is no heat, the red half is grey: its luminance, dimmed by the lowest colour.
    assert np.ptp(overlay[10, 200]) < 0.01


def test_qualitative_shows_the_crop_that_the_model_saw():
    rng = np.random.default_rng(0)
    smooth = zoom(rng.random((4, 4)), 16, order=1)
    image = np.repeat((255 * smooth).astype(np.uint8)[None, ..., None], 3, axis=-1)
    flat = {("whole", "g"): np.zeros((1, 7, 7), np.float32), ("crop", "g"): np.zeros((1, 7, 7), np.float32)}
    box = (0.25, 0.5, 0.75, 1.0)
    figure = draw("qualitative", image, smooth[None], flat, ["x"], boxes={"crop": box})
    shown, whole, crop = (picture(figure.axes[n])[..., 0] for n in (0, 2, 3))
    rows, columns = slice(56, 168), slice(112, 224)
    assert crop[::2, ::2] == pytest.approx(whole[rows, columns], abs=0.02)
    # Of one model, the image and the human map are of the same part.
    alone = draw("qualitative", image, smooth[None], {("crop", "g"): flat["crop", "g"]}, ["x"], boxes={"crop": box})
    assert picture(alone.axes[0])[::2, ::2, 0] == pytest.approx(shown[rows, columns], abs=0.03)


def test_qualitative_tells_degenerate_maps_scores_and_wrong_predictions():
    images, human, maps, labels = pictures()
    maps["ResNet-mini", "Grad-CAM"][0] = 0.25
    maps["FastViT-mini", "Grad-CAM"][1, 0, 0] = np.nan
    scores = {("ResNet-mini", "Grad-CAM"): np.array([0.0, 0.614])}
    predicted = {"ResNet-mini": ["3", "9"], "FastViT-mini": ["3", "7"]}
    figure = draw("qualitative", images, human, maps, labels, predicted=predicted, scores=scores)
    shown = texts(figure)
    assert shown.count("degenerate") == 2
    assert next(text.get_text() for text in figure.texts if text.get_text().startswith("→")) == "→ 9"
    assert "0.00" in shown
    assert "0.61" in shown
    assert all(np.isfinite(picture(axis)).all() for axis in figure.axes)


def test_qualitative_with_one_method_and_one_model():
    images, human, maps, labels = pictures(count=1)
    only = {("ResNet-mini", "Grad-CAM"): maps["ResNet-mini", "Grad-CAM"]}
    assert len(draw("qualitative", images, human, only, labels).axes) == 4


@pytest.mark.parametrize("extension", ["png", "pdf"])
def test_files_are_the_same_bytes_in_every_process(tmp_path, extension):
    path = tmp_path / f"here.{extension}"
    save(draw("accuracy_alignment", make_inputs()), path)
    code = (
        "import sys; from studies import make_inputs; from camstudy.figures import FIGURES, save\n"
        "save(FIGURES['accuracy_alignment'].function(make_inputs()), sys.argv[1])"
    )
    other = tmp_path / f"there.{extension}"
    environment = {
        "PYTHONPATH": f"{UNIT_TESTS}:{UNIT_TESTS.parents[1]}",
        "PYTHONHASHSEED": "7",
        "TZ": "Asia/Tokyo",
    }
    subprocess.run([sys.executable, "-c", code, str(other)], check=True, env=environment)
    assert path.read_bytes() == other.read_bytes()
    assert b"CreationDate" not in path.read_bytes()


def test_png_files_have_200_dots_per_inch(tmp_path):
    figure = draw("alignment", make_inputs(methods=("gradcam",)))
    save(figure, tmp_path / "figure.png")
    header = (tmp_path / "figure.png").read_bytes()[16:24]
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:])
    assert (width, height) == pytest.approx(200 * figure.get_size_inches(), abs=1)
