"""Arrays that a method declares beside its maps: stored with them, under the same checks, and read as they are."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from stores import squares, write_store
from test_heatmap_store import ATTRS, CHUNK, INPUTS, SETTINGS, N, Net, layer_of
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.explain.engine import explain
from camstudy.explain.explainer import Explainer
from camstudy.explain.reading import label_maps
from camstudy.explain.registry import METHODS, MapArray, bind, separate
from camstudy.explain.run import explain_dataset
from camstudy.explain.store import Heatmaps
from camstudy.models.inputs import prepare

STEPS = 3
DECLARED = {
    "logit": MapArray("float64"),
    "brightest": MapArray("int64", ("corner",), {"corner": 2}),
    "curve": MapArray("float32", ("step",), {"step": "steps"}),
    "spread": MapArray("float32", ("step", "y", "x"), {"step": "steps"}),
}


def traced(context, *, cells: int = 4, steps: int = 2):
    """Return maps of means of pixels, and numbers that follow from them."""
    maps = F.adaptive_avg_pool2d(context.images, cells).mean(1)
    peak = maps.flatten(1).argmax(1)
    powers = torch.stack([maps**power for power in range(1, steps + 1)], 1)
    logit = context.logits.double().gather(1, context.target[:, None])[:, 0]
    brightest = torch.stack([peak // cells, peak % cells], 1)
    return maps, {"logit": logit, "brightest": brightest, "curve": powers.mean((2, 3)), "spread": powers}


def plain(context, *, cells: int = 4):
    """Return maps alone."""
    return F.adaptive_avg_pool2d(context.images, cells).mean(1)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(METHODS, "_entries", dict(METHODS._entries))
    METHODS.register("traced", needs="model", resolution="cells", source="tests", arrays=DECLARED)(traced)
    METHODS.register("plain", needs="model", resolution="cells", source="tests")(plain)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("data") / "squares.json", *squares(N))


def run(manifest: Path, dataset, model: Net, name: str = "traced", images=slice(0, N), **parameters):
    method = {"method": name, "parameters": parameters, "target": "label", "geometry": "aligned"}
    explainer = Explainer(model, layer_of(model), INPUTS, method)
    attrs = ATTRS | {"method": name, "parameters": parameters}
    explain_dataset(manifest, dataset, explainer, images=images, settings=SETTINGS, attrs=attrs, identity="f")


def expected(dataset, model):
    """Return the maps and all that is beside them, from the prepared images in numpy."""
    images = prepare(dataset.images(), INPUTS)
    maps = images.numpy().reshape(N, 3, 4, 3, 4, 3).mean((1, 3, 5))
    with torch.no_grad():
        logit = model(images).numpy()[np.arange(N), dataset.labels]
    brightest = [np.unravel_index(one.argmax(), one.shape) for one in maps]
    spread = np.stack([maps, maps**2, maps**3], 1)
    return maps, {"logit": logit, "brightest": brightest, "curve": spread.mean((2, 3)), "spread": spread}


def test_they_are_stored_beside_the_maps_and_read_with_them(tmp_path, dataset):
    model = Net().eval()
    run(tmp_path / "traced.json", dataset, model, steps=STEPS)
    stored, (maps, arrays) = Heatmaps([tmp_path / "traced.json"]), expected(dataset, model)
    found = label_maps({("net", "traced"): [tmp_path / "traced.json"]})
    np.testing.assert_allclose(found["heatmap"].values[0, 0], maps, atol=1e-5)
    assert stored.arrays.keys() == DECLARED.keys()
    for name, declared in DECLARED.items():
        assert found[name].dims == ("model", "method", "image", *declared.dims)
        assert found[name].dtype == stored.array(name).dtype == declared.dtype
        np.testing.assert_allclose(stored.array(name), arrays[name], atol=1e-5)
        np.testing.assert_array_equal(found[name].values[0, 0], stored.array(name))
    np.testing.assert_array_equal(found["spread"][0, 0, [9, 2], 1].values, stored.array("spread", [9, 2])[:, 1])


def test_a_killed_run_goes_on_and_parts_are_the_whole(tmp_path, dataset):
    model = Net().eval()
    run(tmp_path / "whole.json", dataset, model, steps=STEPS)
    whole = Heatmaps([tmp_path / "whole.json"])
    model.seen, model.stop = 0, CHUNK + 4
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed.json", dataset, model, steps=STEPS)
    model.seen, model.stop = 0, None
    run(tmp_path / "killed.json", dataset, model, steps=STEPS)
    assert model.seen == N - CHUNK
    for part in (slice(0, 12), slice(12, N)):
        run(tmp_path / f"{part.stop}.json", dataset, model, images=part, steps=STEPS)
    parts = Heatmaps([tmp_path / f"{N}.json", tmp_path / "12.json"])
    for name in DECLARED:
        np.testing.assert_array_equal(Heatmaps([tmp_path / "killed.json"]).array(name), whole.array(name))
        np.testing.assert_allclose(parts.array(name, [13, 3, 12]), whole.array(name, [13, 3, 12]), atol=1e-5)


@pytest.mark.parametrize("name", DECLARED)
def test_a_missing_chunk_is_named_and_a_damaged_one_too(tmp_path, dataset, name):
    manifest = tmp_path / "traced.json"
    run(manifest, dataset, Net().eval())
    chunk = next((tmp_path / "traced.zarr" / name).glob("c.1*"))
    content = chunk.read_bytes()
    chunk.write_bytes(content[:-1] + bytes([content[-1] ^ 255]))
    with pytest.raises(CamstudyError, match=rf"chunk {chunk.name} of array `{name}` is damaged"):
        Heatmaps([manifest]).array(name)
    chunk.unlink()
    with pytest.raises(CamstudyError, match=rf"lacks chunk {chunk.name} of array `{name}`"):
        Heatmaps([manifest])


def test_with_methods_that_have_none_and_other_sizes(tmp_path, dataset):
    manifests = {("net", name): [tmp_path / f"{name}.json"] for name in ("traced", "plain")}
    model = Net().eval()
    run(tmp_path / "traced.json", dataset, model, steps=STEPS)
    run(tmp_path / "plain.json", dataset, model, "plain", cells=6)
    found = label_maps(manifests, size=(8, 8))
    enlarged = F.interpolate(torch.from_numpy(expected(dataset, model)[1]["spread"]), 8, mode="bilinear")
    np.testing.assert_allclose(found["spread"].values[0, 0], enlarged, atol=1e-5)
    other = found.isel(model=0, method=1)
    assert np.isnan(other["spread"].values).all()
    assert np.isnan(other["logit"].values).all()
    assert (other["brightest"].values == np.iinfo(np.int64).min).all()
    assert {*label_maps(manifests, size=(8, 8), arrays=["curve"])} == {"heatmap", "target", "view", "curve"}
    run(tmp_path / "more.json", dataset, model, steps=STEPS + 1)
    manifests["net", "more"] = [tmp_path / "more.json"]
    with pytest.raises(CamstudyError, match=r"array `curve` of `net` by `more` is float32 \(4,\), of others .* \(3,\)"):
        label_maps(manifests, size=(8, 8))
    assert label_maps(manifests, size=(8, 8), arrays=["logit"])["logit"].shape == (1, 3, N)


def test_what_a_method_returns_is_what_it_declares(dataset):
    model, images = Net().eval(), prepare(dataset.images([0, 1]), INPUTS)

    def explained(function, **facts):
        METHODS._entries.pop("wrong", None)
        METHODS.register("wrong", needs="model", resolution="cells", source="tests", **facts)(function)
        return explain(model, layer_of(model), images, np.zeros(2), {"wrong": bind("wrong", {})})

    assert explained(traced, arrays=DECLARED).arrays["wrong"].keys() == DECLARED.keys()
    assert explained(plain).arrays == {"wrong": {}}
    for function, arrays, message in [
        (traced, {}, "method `wrong`: returns more than maps; declare it in `arrays`"),
        (plain, DECLARED, r"declares `arrays`, so that it must return \(maps, arrays by name\)"),
        (traced, {"logit": DECLARED["logit"]}, r"declares the arrays \['logit'\], but returns \['brightest', 'curve'"),
        (
            traced,
            DECLARED | {"curve": MapArray("float32", ("step",), {"step": 5})},
            r"`curve` is declared as float32 \(2, 5\)",
        ),
        (traced, DECLARED | {"logit": MapArray("int64")}, r"`logit` is declared as int64 \(2,\).* is float64 \(2,\)"),
    ]:
        with pytest.raises(CamstudyError, match=message):
            explained(function, arrays=arrays)


def test_controls_may_declare_arrays_too():
    def control(image_ids, dataset):
        return np.ones((len(image_ids), 2, 2), np.float32), {"number": image_ids}

    METHODS.register("numbered", needs="dataset", source="tests", arrays={"number": MapArray("int64")})(control)
    method = bind("numbered", {})
    maps, arrays = separate(method, method(np.array([4, 7]), {}))
    assert (maps.shape, arrays["number"].tolist()) == ((2, 2, 2), [4, 7])


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"dtype": "float32", "dims": ("step",)}, "each dimension needs its own"),
        ({"dtype": "float32", "dims": ("image",), "sizes": {"image": 3}}, "each dimension needs its own"),
        ({"dtype": "float32", "dims": ("y", "x", "step"), "sizes": {"step": 2}}, "come last and hold floats"),
        ({"dtype": "int64", "dims": ("y", "x")}, "come last and hold floats"),
        ({"dtype": "bool"}, "only floats and integers"),
    ],
)
def test_declarations_that_cannot_be_stored_are_refused(facts, message):
    with pytest.raises(ValueError, match=message):
        MapArray(**facts)


@pytest.mark.parametrize("name", ["heatmap", "label", "step"])
def test_names_that_are_taken_are_refused(name):
    arrays = {name: MapArray("float32"), "curve": DECLARED["curve"]}
    with pytest.raises(ValueError, match=f"an array cannot be called `{name}`"):
        METHODS.register("taken", needs="model", source="tests", arrays=arrays)(plain)


def test_the_example_of_the_page_runs_as_printed():
    text = (Path(__file__).parents[2] / "docs/extending.md").read_text()
    (block,) = (code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "MapArray" in code)
    exec(block, {})
    method, (activations, gradients) = bind("gradcam_weights", {"ranks": 2}), torch.randn(2, 3, 5, 4, 4).double()
    maps, arrays = separate(method, method(activations, gradients))
    a, weights = activations.numpy(), gradients.numpy().mean((2, 3))
    np.testing.assert_allclose(maps, np.maximum(np.einsum("nk,nkyx->nyx", weights, a), 0))
    np.testing.assert_allclose(arrays["weight"], np.sort(weights, 1)[:, :-3:-1])
    assert method.shapes((4, 4)) == {"weight": (2,)}
