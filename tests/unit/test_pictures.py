"""Every figure looks as its reference picture, and a picture that differs is found."""

import shutil

import numpy as np
import pytest
from matplotlib.testing.exceptions import ImageComparisonFailure
from matplotlib.text import Text
from pictures import REFERENCES, SAME, check_picture, is_on_its_page
from studies import make_inputs, make_method_inputs, make_redrawn_inputs, with_images, with_steps, with_sweeps

from camstudy.figures import FIGURES, save
from camstudy.figures.style import PAGE


def photographs():
    """Smooth images with people's maps and those of two models, one of them in the corner that the model saw."""
    y, x = np.mgrid[:64, :64] / 63
    shades = [np.stack([x, y, 1 - x], -1), np.stack([y * x, 1 - y, np.hypot(x, y) / 2], -1)]
    places = np.array([[0.3, 0.6], [0.7, 0.4]])
    human = np.stack([np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.05) for a, b in places]).astype(np.float32)
    maps = {
        (model, method): human[:, start::9, start::9] ** power
        for start, model in enumerate(("Net", "Net DCLS"))
        for power, method in ((1, "Grad-CAM"), (3, "Opti-CAM"), (0, "Flat"))
    }
    images = (255 * np.stack(shades)).astype(np.uint8)
    predicted = {"Net": ["cat", "fox"], "Net DCLS": ["cat", "dog"]}
    return [images, human, maps, ["cat", "dog"]], {"predicted": predicted, "boxes": {"Net": (0.25, 0.5, 0.75, 1.0)}}


def grid():
    inputs, stated = photographs()
    objects = [np.array([[16, 0, 32, 64]]), np.array([[0, 0, 8, 8], [32, 32, 60, 60]])]
    stated["probability"] = {key: np.array([0.9, 0.4]) for key in inputs[2]}
    stated["masked"] = {key: np.array([0.75, 0.5]) for key in inputs[2]}
    return FIGURES["method_grid"].function(*inputs, **stated, scores={}, objects=objects, scattered=["Opti-CAM"])


def gaze():
    inputs, stated = photographs()
    fixations = [np.array([[32, 40], [45, 34], [5, 5]]), np.array([[20, 50]])]
    return FIGURES["gaze"].function(*inputs, **stated, scores={}, fixations=fixations, human_maps="simulated")


def compared(name):
    """Two figures of a network and its variant, of which one draws gradients."""
    [images, human, maps, labels], stated = photographs()
    titles = {"Grad-CAM": "input_gradient", "Opti-CAM": "guided_backprop", "Flat": "gradcam"}
    pairs = [("Network", ["Net", "Net DCLS"])]
    return FIGURES[name].function(images, human, maps, labels, **stated, scores={}, pairs=pairs, methods=titles)


def scanpaths():
    """Steps of one method of two, with what it saw; of one image the path is short."""
    [images, human, maps, labels], stated = photographs()
    path = np.array([[[0.3, 0.6], [0.7, 0.4], [0.2, 0.2]], [[0.7, 0.4], [0.5, 0.5], [np.nan, np.nan]]])
    key = ("Net", "Opti-CAM")
    eye = {"fovea_size": 0.4, "forgetting": 0.1, "blur_sigma": 6.0, "size": 64}
    beside = {"scanpaths": {key: path}, "eyes": {key: eye}}
    return FIGURES["scanpaths"].function(images, human, maps, labels, **stated, scores={}, **beside)


def class_specific():
    """Two images with two classes each, two networks, and one method with scanpaths."""
    [images, _, maps, _], stated = photographs()
    twice = {key: np.repeat(values, 2, axis=0) for key, values in maps.items()}
    for values in twice.values():
        values[1::2] = values[1::2, ::-1]
    boxes = [np.array([[16, 0, 32, 64]]), np.array([[0, 0, 8, 8], [32, 32, 60, 60]])]
    path = np.array([[[0.3, 0.6], [0.31, 0.61], [0.2, 0.2], [0.9, 0.7]]] * 4) * np.linspace(1, 0.7, 4)[:, None, None]
    labels, predicted = ["cat", "cup", "dog", "fox"], {model: ["cat", "cup", "dog", "fox"] for model, _ in maps}
    stated |= {"objects": boxes * 2, "predicted": predicted, "scanpaths": {("Net", "Opti-CAM"): path}}
    return FIGURES["class_specific"].function(np.repeat(images, 2, axis=0), None, twice, labels, **stated, scores={})


def qualitative():
    inputs, stated = photographs()
    scores = {("Net", "Grad-CAM"): np.array([0.12, 0.61])}
    return FIGURES["qualitative"].function(*inputs, **stated, scores=scores, human_title="human map (simulated)")


def of_scores(name, make):
    return lambda: FIGURES[name].function(make())


PICTURES = {"qualitative": qualitative, "method_grid": grid, "gaze": gaze}
PICTURES |= {name: lambda name=name: compared(name) for name in ("gradients", "map_pairs")}
PICTURES |= {"scanpaths": scanpaths, "class_specific": class_specific}
MADE = {
    ("alignment", "accuracy_alignment"): make_inputs,
    ("threshold_sweep", "layer_sweep", "alignment_cost"): lambda: with_sweeps(make_inputs()),
    ("insertion_deletion", "faithfulness_localization"): lambda: make_method_inputs(models=("net", "other")),
    ("nss_by_fixations",): make_redrawn_inputs,
    ("randomization",): lambda: with_steps(make_inputs(), 3, 3, n_degenerate=2),
}
MADE[("distribution",)] = lambda: with_images(make_inputs(), 48)
PICTURES |= {name: of_scores(name, make) for names, make in MADE.items() for name in names}
# Without comparisons, models are drawn one by one.
ALONE = ("alignment", "accuracy_alignment", "threshold_sweep", "layer_sweep", "alignment_cost")
PICTURES |= {f"{name}-alone": of_scores(name, lambda: with_sweeps(make_inputs(compare=False))) for name in ALONE}


def test_every_figure_has_a_picture():
    assert {name.partition("-")[0] for name in PICTURES} == set(FIGURES)


@pytest.mark.parametrize("name", PICTURES)
def test_figures_look_as_their_references(name, tmp_path, looks_like):
    figure = PICTURES[name]()
    assert figure.get_size_inches()[0] <= PAGE
    written = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in written) >= 6
    save(figure, tmp_path / "figure.png")
    assert is_on_its_page(figure)
    looks_like(tmp_path / "figure.png", name)


def test_every_reference_is_small():
    sizes = [path.stat().st_size for path in REFERENCES.iterdir()]
    assert sum(sizes) < 1e6


@pytest.mark.parametrize("change", ["dot", "colour", "text", "size"])
def test_a_small_difference_is_found(change, tmp_path):
    inputs = make_inputs()
    if change == "dot":
        row = inputs.scores.query("method == 'gradcam' and model == 'resnet_mini'").index[0]
        inputs.scores.loc[row, ["mean", "ci_low", "ci_high"]] += 0.01
    figure = FIGURES["alignment"].function(inputs)
    if change == "colour":
        figure.axes[0].lines[0].set_color("black")
    elif change == "text":
        figure.axes[0].set_title("Grad-CAN", loc="left")
    elif change == "size":
        figure.set_size_inches(*(1.02 * figure.get_size_inches()))
    save(figure, tmp_path / "figure.png")
    with pytest.raises((AssertionError, ImageComparisonFailure), match=r"did not match|sizes do not match"):
        check_picture(tmp_path / "figure.png", REFERENCES / "alignment.png", tolerance=SAME, scratch=tmp_path)


def test_a_missing_reference_is_told(tmp_path):
    shutil.copy(REFERENCES / "alignment.png", tmp_path / "figure.png")
    with pytest.raises(AssertionError, match=r"nothing\.png is missing; `pytest --redraw`"):
        check_picture(tmp_path / "figure.png", tmp_path / "nothing.png", tolerance=SAME, scratch=tmp_path)
