"""Figures of maps: what a panel shows of an image, which words are below it, and that all has room on a page."""

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from camstudy.figures import FIGURES
from camstudy.figures.about import about, simulated
from camstudy.figures.pictures import OBJECT, color, scaled, shape
from camstudy.figures.sheet import CELLS, Block, Content, plan
from camstudy.figures.style import COLORS, HEAT, PAGE, TALL
from camstudy.figures.titles import LONGEST, class_names, drawn, told_apart
from camstudy.figures.words import fitted, width

RNG = np.random.default_rng(0)
CENTER = (0.0, 0.125, 1.0, 0.875)  # of a photograph of 500x375, its middle square
METHODS = ["Grad-CAM", "Meaningful perturbation (200 steps)", "Guided backpropagation", "ExPerturbation (100 steps)"]


def ramp(h=375, w=500):
    """A photograph that is brighter to the right and greener further down."""
    y, x = np.mgrid[:h, :w]
    return np.stack([255 * x / (w - 1), 255 * y / (h - 1), 0 * x], -1).round().astype(np.uint8)


def draw(name, models=("Net",), methods=("Grad-CAM",), images=None, labels=("tench",), **stated):
    images = [ramp()] * len(labels) if images is None else images
    maps = {(m, e): RNG.random((len(images), 7, 7), dtype=np.float32) for m in models for e in methods}
    human = RNG.random((len(images), 8, 8), dtype=np.float32)
    return FIGURES[name].function(images, human, maps, labels, **stated)


def written(figure):
    return [" ".join(text.get_text().split()) for text in figure.texts]


def test_the_image_is_the_crop_that_the_network_saw():
    figure = draw("method_grid", boxes={"Net": np.array([CENTER])})
    shown = np.asarray(figure.axes[0].images[0].get_array())
    assert shown.shape == (224, 224, 3)
    # In the middle of the picture's first and last column, in fractions of the photograph.
    for column, place in ((0, 0.125 + 0.75 * 0.5 / 224), (223, 0.125 + 0.75 * 223.5 / 224)):
        assert shown[112, column, 0] == pytest.approx((place * 500 - 0.5) / 499, abs=0.005)
    assert shown[0, 112, 1] == pytest.approx((0.5 / 224 * 375 - 0.5) / 374, abs=0.005)


def test_a_photograph_that_is_seen_as_a_whole_keeps_its_proportions():
    for photograph, size in ((ramp(375, 500), (168, 224)), (ramp(500, 333), (224, 149))):
        assert shape(photograph) == size
        figure = draw("method_grid", images=[photograph])
        for panel in figure.axes[:3]:
            picture = np.asarray(panel.images[0].get_array())
            assert picture.shape[:2] == size
            assert panel.get_aspect() == 1
    beyond = color(ramp(100, 200), (-0.5, 0.0, 1.5, 1.0))
    assert beyond.shape == (224, 224, 3)
    assert not beyond[:50].any()
    assert not beyond[-50:].any()


def test_objects_and_fixations_lie_in_the_crop():
    stated = {"boxes": {"Net": np.array([CENTER])}, "objects": [np.array([[0, 125, 75, 250]])]}
    box = draw("method_grid", **stated).axes[0].patches[0]
    scale = 224 / 375
    assert (box.get_x(), box.get_y()) == pytest.approx(((125 - 62.5) * scale - 0.5, -0.5))
    assert (box.get_width(), box.get_height()) == pytest.approx((125 * scale, 75 * scale))
    points = [np.array([[100.0, 200.0], [10.0, 10.0]])]  # the second is outside of the crop
    panels = draw("gaze", boxes=stated["boxes"], fixations=points, human_maps="simulated").axes
    for panel in (panels[0], panels[2]):
        place = [(200 - 62.5) * scale - 0.5, 100 * scale - 0.5]
        np.testing.assert_allclose(panel.collections[0].get_offsets(), [place], rtol=1e-6)


def test_words_below_an_image_name_its_class_and_what_is_explained():
    def texts(*facts):
        return [text for text, _ in about(*facts)]

    nan = float("nan")
    assert texts("tench", "tench", 0.973, "tench") == ["tench 0.97"]
    assert texts("tench", None, nan, "pike") == ["tench", "→ pike"]
    assert texts("tench", "pike", 0.5, "tench") == ["tench", "explained: pike 0.50"]
    assert texts("tench", "pike", 0.5, "pike") == ["tench", "→ explained: pike 0.50"]
    assert texts("tench", "pike", nan, "eel") == ["tench", "explained: pike", "→ eel"]
    assert texts("", None, nan, None) == []


def test_each_map_of_the_grid_has_the_probability_of_the_image_masked_by_it():
    keys = [("Net", "Grad-CAM"), ("Net", "Other")]
    stated = {
        "masked": {keys[0]: np.array([0.61]), keys[1]: np.array([0.125])},
        "explained": {keys[0]: ["tench"], keys[1]: ["pike"]},
        "probability": {key: np.array([0.9]) for key in keys},
    }
    texts = written(draw("method_grid", methods=("Grad-CAM", "Other"), **stated))
    assert {"tench 0.90", "0.61", "pike 0.12"} <= {*texts}
    assert any("masked by the map" in text for text in texts)
    assert not any("masked" in text for text in written(draw("method_grid")))


def test_the_columns_of_several_models_have_the_probabilities_of_each():
    keys = [("Net", "Grad-CAM"), ("Other", "Grad-CAM")]
    stated = {"probability": {keys[0]: np.array([0.25]), keys[1]: np.array([0.75])}}
    stated["predicted"] = {"Net": ["pike"], "Other": ["tench"]}
    texts = written(draw("qualitative", models=("Net", "Other"), **stated))
    assert {"tench", "0.25", "→ pike", "0.75"} <= {*texts}


def test_scattered_maps_are_drawn_between_percentiles():
    heat = np.abs(RNG.normal(size=(224, 224))).astype(np.float32)
    heat[3, 3] = 1000
    low, high = np.percentile(heat, [1, 99])
    found = scaled(heat, scattered=True)
    np.testing.assert_allclose(found, np.clip((heat - low) / (high - low), 0, 1), atol=1e-6)
    assert found.mean() > 0.2 > 0.01 > scaled(heat).mean()  # the latter would look empty
    # All but one pixel are alike: there is nothing between the percentiles.
    fake = np.ones((224, 224), np.float32)
    fake[0, 0] = 0
    np.testing.assert_array_equal(scaled(fake, scattered=True), fake)
    assert not scaled(np.ones((4, 4)), scattered=True).any()
    assert not scaled(np.array([[0, np.nan]]), scattered=True).any()


def test_the_note_says_which_maps_are_between_percentiles():
    figure = draw("method_grid", methods=("Grad-CAM", "Input gradient"), scattered=["Input gradient"])
    assert any("Input gradient from percentile 1 to 99" in text for text in written(figure))
    assert not any("percentile" in text for text in written(draw("method_grid")))


def test_simulated_people_are_called_so():
    title = {"human_title": "human map (simulated)"}
    for name in ("qualitative", "method_grid"):
        assert "human map (simulated)" in written(draw(name, **title))
    figure = draw("gaze", fixations=[np.array([[5.0, 5.0]])], human_maps="simulated")
    assert any("fixations (simulated)" in text for text in written(figure))


@pytest.mark.parametrize("family", ["agreement", "faithfulness"])
def test_figures_of_scores_say_that_people_are_simulated(family):
    from studies import make_inputs

    inputs = make_inputs()
    inputs.study["catalog"]["protocols"] = {"it": {"family": family}}
    assert bool(simulated(inputs)) == (family == "agreement")
    inputs.dataset["human_maps"] = "recorded"
    assert simulated(inputs) == ""


# Images, models and methods.
SIZES = {
    "qualitative": [(6, 1, 3), (3, 8, 2)],
    "method_grid": [(6, 1, 1), (2, 1, 18), (2, 3, 3)],
}


@pytest.mark.parametrize(("name", "size"), [(name, size) for name, sizes in SIZES.items() for size in sizes])
def test_what_is_on_a_page_has_room(name, size):
    n, models, methods = size
    named = [f"{METHODS[number % 4]} {number}" for number in range(methods)]
    models = [f"ConvFormer-mini {number}" for number in range(models)]
    labels = ["German short-haired pointer", "7", "tench"] * 2
    stated = {"predicted": {model: ["tench"] * n for model in models}}
    stated["probability"] = {(model, method): np.full(n, 0.5) for model in models for method in named}
    images = [ramp(8, 8)] * n
    figure = draw(name, models, named, images, labels[:n], **stated)
    across, down = figure.get_size_inches()
    assert across <= PAGE
    assert down <= TALL
    renderer = FigureCanvasAgg(figure).get_renderer()
    words = [text for text in figure.texts if text.get_text()]
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 6
    boxes = [text.get_window_extent(renderer) for text in words]
    panels = [axes.get_position().transformed(figure.transFigure) for axes in figure.axes]
    whole = figure.bbox.padded(1)
    for number, (text, box) in enumerate(zip(words, boxes, strict=True)):
        assert whole.contains(box.x0, box.y0), text
        assert whole.contains(box.x1, box.y1), text
        # A pixel's width is lost in rounding.
        near = [words[other].get_text() for other in range(number) if boxes[other].padded(-1).overlaps(box.padded(-1))]
        assert not near, text
        assert not any(panel.padded(-1).overlaps(box.padded(-1)) for panel in panels), text


def test_maps_grow_with_the_room_they_have():
    def side(images, methods):
        blocks = [Block(about=[("7", "black")])] * images
        return plan(Content(blocks, ["image"], [[f"M{i}" for i in range(methods)]])).cell

    assert side(1, 1) > side(6, 8) > side(6, 18) >= CELLS[-1]
    alone = plan(Content([Block()] * 6, ["image"], [["M"]]))
    assert alone.across > 1  # images of a single map stand beside each other
    assert max(alone.width, alone.height) < TALL


def test_text_is_broken_where_it_has_no_room():
    for text in ("Guided backpropagation", "W" * 48, "SmoothGrad", "a-b-c" * 9, "", "x"):
        for room in (0.45, 0.9, 2.0):
            found = fitted(text, room)
            assert max(map(width, found.split("\n"))) <= room + 1e-9
            plain = "".join(found.replace("-", "").split())
            assert plain == "".join(text.replace("-", "").split())
    assert fitted("SmoothGrad", 0.45) == "Smooth-\nGrad"


def test_a_width_is_that_which_matplotlib_draws():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4, 1), dpi=1000)
    for text in ("German short-haired pointer", "0.97"):
        drawn_text = figure.text(0, 0, text, fontsize=6, fontfamily="DejaVu Sans")
        extent = drawn_text.get_window_extent(FigureCanvasAgg(figure).get_renderer())
        assert width(text) == pytest.approx(extent.width / 1000, rel=0.03)


def test_long_titles_that_differ_in_the_middle_are_told_apart():
    titles = [f"{'Network ' * 6}{middle}{' and so on' * 6}" for middle in ("small", "large", "huge")]
    assert len({drawn(title) for title in titles}) == 1
    found = told_apart(titles)
    assert len({*found.values()}) == 3
    for title, middle in zip(titles, ("small", "large", "huge"), strict=True):
        assert middle in found[title]
        assert len(found[title]) <= LONGEST
    # Whatever they differ in, and others stay as they are.
    far = [f"a{'x' * 30}{one}{'y' * 60}{other}{'z' * 30}b" for one in "01" for other in "23"]
    assert len({*told_apart(far).values()}) == 4
    assert told_apart(["short", "x  y"]) == {"short": "short", "x  y": "x y"}


def test_classes_have_names():
    names = ["tench, Tinca tinca", "n02123045", "crane, small", "own, class"]
    assert class_names(names) == {
        "tench, Tinca tinca": "tench",
        "n02123045": "tabby",
        "crane, small": "crane, small",
        "own, class": "own, class",
    }
    # Two of ImageNet's classes begin alike: both stand in full.
    both = ["maillot", "maillot, tank suit"]
    assert class_names(both) == {name: name for name in both}


# Machado, Oliveira and Fernandes 2009: what people without one kind of cones see, of linear RGB.
BLINDNESS = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}


def lab(rgb):
    """Return CIE L*a*b* of linear RGB (n, 3) under D65."""
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.clip(rgb, 0, 1) @ np.transpose(to_xyz) / [0.9505, 1, 1.089]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)


def linear(colors):
    srgb = np.array([mpl.colors.to_rgb(color) for color in colors])
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("kind", BLINDNESS)
def test_colours_differ_for_all(kind):
    seen = lab(linear(COLORS) @ np.transpose(BLINDNESS[kind]))
    apart = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[~np.eye(len(COLORS), dtype=bool)]
    assert apart.min() > 8
    red_and_green = lab(linear(["#d62728", "#2ca02c"]) @ np.transpose(BLINDNESS["deuteranopia"]))
    assert OBJECT in COLORS
    assert np.linalg.norm(red_and_green[0, 1:] - red_and_green[1, 1:]) < 30  # that such a pair would not do


def test_heat_is_lighter_the_more_there_is():
    lightness = lab(linear(mpl.colormaps[HEAT](np.linspace(0, 1, 64))))[:, 0]
    steps = np.diff(lightness)
    assert (steps > 0).all()
    assert steps.max() < 3 * np.median(steps)
