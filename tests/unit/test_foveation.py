"""NeVA and FovEx against one image at a time, written out in pixels; maps from scanpaths against sums over steps."""

import dataclasses

import numpy as np
import pytest
import torch
from nets import MEAN, STD, context, net, normalize, pixels
from scipy.ndimage import correlate, gaussian_filter
from test_heatmap_store import ATTRS

from camstudy.core.errors import CamstudyError
from camstudy.core.store import ArraySpec
from camstudy.explain.engine import explain
from camstudy.explain.fixations import drawn, eye, redrawn
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import bind
from camstudy.explain.store import Heatmaps, heatmap_writer
from camstudy.figures import FIGURES

torch.set_num_threads(1)

SIDE = 32
FEW = {"fixations": 3, "steps": 6, "side": 9, "seed": 4}
CASES = {
    "fovex": {**FEW, "blur_size": 21, "blur_sigma": 6.0},
    "neva": {**FEW, "blur_size": 9},
    "restarts": {**FEW, "blur_size": 9, "random_restart": True, "forgetting": 0.7, "learning_rate": 0.5},
    "offset": {**FEW, "blur_size": 9, "released_offset": True, "learning_rate": 0.3, "forgetting": 0.0},
    "factors": {**FEW, "blur_size": 9, "factors": [0.3, 0.5, 2.0], "heat_size": 0.6},
}
METHOD = {case: "fovex" if case == "fovex" else "neva" for case in CASES}


def gaussian(point, size, spread):
    """exp(-|z - p|² / s) at the centers of pixels."""
    z = torch.tensor([(2 * i + 1) / size - 1 for i in range(size)], dtype=torch.float64)
    return torch.exp(-((z[:, None] - point[0]) ** 2 + (z[None] - point[1]) ** 2) / spread)


def blurred(image, size, sigma):
    """A Gaussian kernel in two dimensions, by scipy; its `mirror` leaves out the border's own pixel."""
    offset = np.arange(size) - size // 2
    kernel = np.exp(-(offset[:, None] ** 2 + offset**2) / (2 * sigma**2))
    return torch.from_numpy(np.stack([correlate(c, kernel / kernel.sum(), mode="mirror") for c in image.numpy()]))


def stated(model, image, label, generator, parameters, head="softmax"):
    """The algorithm for one image in [0, 1]: points, lowest losses, the map, and how often each point was given up."""
    p = {"fovea_size": 0.15, "heat_size": 0.15, "forgetting": 0.1, "learning_rate": 0.1, "blur_sigma": 5.0} | parameters
    draws = torch.rand(p["fixations"], p["steps"], 2, generator=generator, dtype=torch.float64)
    soft = blurred(image, p["blur_size"], p["blur_sigma"])
    memory, heat = torch.zeros(SIDE, SIDE, dtype=torch.float64), np.zeros((p["side"],) * 2)
    factors, path, lowest, failures = p.get("factors", [1.0] * p["fixations"]), [], [], 0
    for t in range(p["fixations"]):
        point, best_loss, best = torch.zeros(2, dtype=torch.float64), float("inf"), None
        for k in range(p["steps"]):
            leaf = point.clone().requires_grad_()
            mask = torch.clip(1 - (memory + gaussian(leaf, SIDE, p["fovea_size"])), 0, 1)
            logits = model(normalize(image + (soft - image) * mask)[None])[0]
            probability = torch.softmax(logits, 0)[label] if head == "softmax" else 1 / (1 + torch.exp(-logits[label]))
            loss = -torch.log(probability)
            loss.backward()
            new = point - p["learning_rate"] * torch.sign(leaf.grad)
            if loss.item() < best_loss:
                best_loss, best = loss.item(), new if p.get("released_offset") else point
                point = new
            else:
                failures += 1
                uniform = draws[t, k]
                restart = p.get("random_restart", "fovex" in p)
                point = 2 * uniform - 1 if restart else new + (uniform - 0.5) * p["learning_rate"]
        memory = p["forgetting"] * memory + gaussian(best, SIDE, p["fovea_size"])
        heat = factors[t] * heat + gaussian(best, p["side"], p["heat_size"]).numpy()
        path.append(best.numpy())
        lowest.append(best_loss)
    return np.array(path), np.array(lowest), heat, failures


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_algorithm_for_one_image(case):
    model, images = net("mixer"), pixels(8, SIDE)
    given, parameters = context(model, images, batch_size=8), CASES[case]
    maps, arrays = bind(METHOD[case], parameters)(given)
    assert len(model.sizes) == 18  # a pass for each step of each fixation, for all images at once
    assert set(model.sizes) == {8}
    failures = 0
    for i, image in enumerate(images):
        generator = given.generators(4)[i]
        parameters = parameters | ({"fovex": True} if case == "fovex" else {})
        path, lowest, heat, failed = stated(model, image, int(given.target[i]), generator, parameters)
        np.testing.assert_allclose(2 * arrays["scanpath"][i].numpy() - 1, path, atol=1e-6)
        np.testing.assert_allclose(arrays["loss"][i], lowest, rtol=1e-9)
        np.testing.assert_allclose(maps[i], heat, atol=1e-5)
        failures += failed
    # Restarts and steps that are taken are both there.
    assert 8 * 3 < failures < 8 * 18 - 8 * 3


@pytest.mark.parametrize("name", ["fovex", "neva"])
def test_eight_at_once_are_eight_alone(name):
    model, images = net("mixer"), pixels(8, SIDE)
    together = bind(name, CASES[name])(context(model, images))
    for i in range(8):
        alone = bind(name, CASES[name])(context(model, images[i : i + 1], first=i))
        torch.testing.assert_close(alone[0][0], together[0][i], rtol=0, atol=1e-6)
        for key, values in together[1].items():
            torch.testing.assert_close(alone[1][key][0], values[i], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["fovex", "neva"])
def test_an_image_without_a_finite_loss_has_no_fixation(name):
    """Neither a path nor a map that shows the center; the others are as they were."""

    class Broken(torch.nn.Module):
        def __init__(self, whole) -> None:
            super().__init__()
            self.whole = whole

        def forward(self, x):
            return self.whole(x) * x.new_tensor([1, torch.nan, 1])[: len(x), None]

    images = pixels(3, SIDE)
    given = context(net("mixer"), images)
    maps, arrays = bind(name, CASES[name])(given)
    found, lost = bind(name, CASES[name])(dataclasses.replace(given, model=Broken(given.model)))
    for each in lost.values():
        if each is not lost["weight"]:
            assert each[1].isnan().all()
    assert (found[1] == 0).all()
    torch.testing.assert_close(found[[0, 2]], maps[[0, 2]])
    torch.testing.assert_close(lost["scanpath"][[0, 2]], arrays["scanpath"][[0, 2]])


def test_a_sigmoid_head_has_the_loss_of_the_class_alone():
    model, images = net("mixer"), pixels(2, SIDE)
    given = dataclasses.replace(context(model, images), head="sigmoid")
    _, arrays = bind("neva", CASES["neva"])(given)
    for i, image in enumerate(images):
        path, lowest, *_ = stated(model, image, i, given.generators(4)[i], CASES["neva"], "sigmoid")
        np.testing.assert_allclose(arrays["loss"][i], lowest, rtol=1e-9)
        np.testing.assert_allclose(2 * arrays["scanpath"][i].numpy() - 1, path, atol=1e-6)


def test_the_gaze_goes_to_what_the_class_hangs_on():
    """A network that sees the contrast of a checkerboard in one corner, which blurring removes."""

    class Corner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.scale = torch.nn.Identity(), torch.nn.Parameter(torch.tensor(0.5))

        def forward(self, x):
            corner = self.layer(x)[:, :, 4:12, 20:28]
            value = self.scale * corner.var((1, 2, 3))
            return torch.stack([value, -value], 1)

    board = (torch.arange(SIDE)[:, None] + torch.arange(SIDE)) % 2
    images = normalize(board.expand(1, 3, SIDE, SIDE).float())
    model = Corner().eval()
    method = {"fovex": bind("fovex", {"fixations": 2, "steps": 30, "blur_size": 9, "forgetting": 0.0})}
    found = explain(model, resolve_target_layer(model, "layer"), images, np.zeros(1), method, mean=MEAN, std=STD)
    np.testing.assert_allclose(found.arrays["fovex"]["scanpath"][0], [[8 / 32, 24 / 32]] * 2, atol=0.12)
    y, x = divmod(int(found.maps["fovex"][0].argmax()), 56)
    np.testing.assert_allclose([(y + 0.5) / 56, (x + 0.5) / 56], [8 / 32, 24 / 32], atol=0.12)


def test_maps_are_drawn_again_from_what_is_stored(tmp_path):
    given = context(net("mixer"), pixels(3, SIDE))
    method = bind("neva", CASES["factors"])
    (maps, arrays), (wide, _) = method(given), bind("neva", CASES["factors"] | {"heat_size": 1.3})(given)
    facts = {"images": [0, 3, 3], "method": "neva", "crop_box": (0, 0, 1, 1)}
    specs = {"scanpath": ArraySpec("float32", (3, 2), ("step", "row_column"))}
    specs |= {name: ArraySpec("float32", (3,), ("step",)) for name in ("loss", "weight")}
    about = {"identity": "i", "names": ["a", "b", "c"], "labels": [0, 1, 2], "shape": (9, 9), "chunk": 3}
    writer = heatmap_writer(tmp_path / "h.json", attrs=ATTRS | facts, arrays=specs, **about)
    beside = {name: values.float().numpy() for name, values in arrays.items()}
    writer.write(slice(0, 3), heatmap=maps.float().numpy(), target=np.arange(3), **beside)
    writer.finish()
    stored = Heatmaps([tmp_path / "h.json"])
    np.testing.assert_allclose(redrawn(stored, heat_size=0.6), maps, rtol=1e-12)
    np.testing.assert_allclose(redrawn(stored, [2, 0], heat_size=1.3), wide[[2, 0]], rtol=1e-12)
    first = redrawn(stored, heat_size=0.6, side=5, first=1)[1]
    one = gaussian(2 * beside["scanpath"][1, 0].astype(float) - 1, 5, 0.6)
    np.testing.assert_allclose(first, 0.5 * 2.0 * one, rtol=1e-6)
    writer = heatmap_writer(tmp_path / "g.json", attrs=ATTRS | facts | {"method": "gradcam"}, **about)
    writer.write(slice(0, 3), heatmap=maps.float().numpy(), target=np.arange(3))
    writer.finish()
    with pytest.raises(CamstudyError, match="`gradcam`: no array `scanpath` beside them"):
        redrawn(Heatmaps([tmp_path / "g.json"]), heat_size=0.1)


def test_steps_that_were_not_taken_draw_nothing():
    path = np.array([[[0.5, 0.5], [np.nan, np.nan]]])
    whole = drawn(path, np.ones((1, 2)), heat_size=0.2, side=4)
    np.testing.assert_array_equal(whole, drawn(path[:, :1], np.ones((1, 1)), heat_size=0.2, side=4))
    with pytest.raises(CamstudyError, match="`heat_size`: a number above 0"):
        drawn(path, np.ones((1, 2)), heat_size=0.0, side=4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"fixations": 0}, "`fixations` must be at least 1"),
        ({"blur_size": 6}, "`blur_size` must be odd and at least 1, found 6"),
        ({"blur_size": 65}, "`blur_size` must be below twice the images' side, 32"),
        ({"fovea_size": 0.0}, "`fovea_size` must be above 0"),
        ({"forgetting": -1.0}, "`forgetting` must be at least 0"),
        ({"factors": [1.0]}, "`factors` must be 3 numbers, or none"),
        ({"factors": [1.0, "a", 1.0]}, "`factors` must be 3 numbers, or none"),
    ],
)
def test_parameters_are_checked(wrong, said):
    with pytest.raises(CamstudyError, match=said):
        bind("fovex", CASES["neva"] | wrong)(context(net(), pixels(1, SIDE)))


def test_the_figure_shows_the_path_in_order_and_what_was_seen():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    maps = {("net", name): rng.random((2, 7, 7), dtype=np.float32) for name in ("FovEx", "Grad-CAM")}
    paths = {("net", "FovEx"): np.array([[[0.25, 0.75], [0.5, 0.5], [np.nan, np.nan]], [[0.1, 0.2]] * 3])}
    settings = {"fovea_size": 0.02, "forgetting": 0.0, "blur_sigma": 3.0, "size": 112}
    figure = FIGURES["scanpaths"].function(
        images, None, maps, ["a", "b"], scanpaths=paths, eyes={("net", "FovEx"): settings}
    )
    assert len(figure.axes) == 10 + 1  # the scale of colours
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[0.75 * 224 - 0.5, 0.25 * 224 - 0.5], [111.5, 111.5]])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1", "2"]
    assert {"scanpath", "last view", "a", "b"} <= {text.get_text() for text in figure.texts}
    shown, _, first, _, last = (np.asarray(axis.images[0].get_array()) for axis in figure.axes[:5])
    for view, there in ((first, (56, 168)), (last, (112, 112))):
        np.testing.assert_allclose(view[there], shown[there], atol=0.01)
    far = gaussian_filter(shown, (6, 6, 0), mode="mirror")[200, 20]
    np.testing.assert_allclose(last[200, 20], far, atol=1e-6)
    assert np.abs(last[56, 168] - shown[56, 168]).max() > 0.05  # forgotten
    empty = FIGURES["scanpaths"].function(images, None, maps, ["a", "b"])
    assert [text.get_text() for text in empty.texts] == ["no method of this study has scanpaths"]


def test_an_eye_is_that_of_the_catalogue_s_method():
    catalog = {"models": {"net": {"input": {"size": 112}}, "other": {}}, "methods": {"gradcam": {"method": "gradcam"}}}
    catalog["methods"]["seen"] = {"method": "fovex", "parameters": {"fovea_size": 0.3}}
    expected = {"fovea_size": 0.3, "forgetting": 0.1, "blur_sigma": 10.0}
    assert eye(catalog, "net", "seen") == expected | {"size": 112}
    assert eye(catalog, "other", "seen") == expected | {"size": 224}
    assert eye(catalog, "net", "gradcam") is None
