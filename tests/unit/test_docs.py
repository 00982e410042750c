"""The examples of docs/extending.md: configurations validate, code runs and does what it says."""

from contextlib import nullcontext
from pathlib import Path

import examples
import numpy as np
import pytest
import scipy.stats
import torch
import yaml
from examples import blocks, files, loaded
from nets import MEAN, SIDE, STD, net, normalize, pixels
from PIL import Image
from studies import make_inputs

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.files import Root
from camstudy.data.sources import SOURCES
from camstudy.explain.engine import explain, map_shape
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind
from camstudy.figures import FIGURES
from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import score_family
from camstudy.models.build import build_model
from camstudy.study.checks import validate
from camstudy.study.protocols import metric_names, shipped
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS
from camstudy.training.terms import TERMS, Batch, asked

ROOT = Path(__file__).parents[2]


def merged(base: dict, top: dict) -> dict:
    """Lay one configuration over another as Snakemake does: mappings are merged, all else is replaced."""
    both = base.keys() & top.keys()
    deeper = {key: merged(base[key], top[key]) for key in both if isinstance(base[key], dict)}
    return {**base, **top, **deeper}


@pytest.fixture(scope="module")
def default() -> dict:
    config: dict = {}
    for name in ("datasets", "models", "imagenet_models", "finetuning", "methods", "protocols"):
        config = merged(config, yaml.safe_load((ROOT / f"config/catalog/{name}.yaml").read_text()))
    study = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    # Which is one of its protocols', not of all of these.
    return merged(config, study | {"primary": None})


@pytest.mark.parametrize("block", blocks("yaml"))
def test_configurations_validate(block, default, tmp_path):
    study = yaml.safe_load(block)
    with loaded(tmp_path) if "plugins" in study else nullcontext():
        known = {"methods": [], "controls": [], "protocols": shipped(), "metrics": metric_names}
        for method in METHODS.values():
            known["controls" if method.needs == "dataset" else "methods"].append(method.name)
        # A whole study takes nothing from another; the others are pieces to lay over one.
        whole = {"comparisons": [], "controls": []} if "study" in study else {}
        valid = validate(merged(default, whole | study), known, check_files=False)
    for kind, entries in study.get("catalog", {}).items():
        assert entries.keys() <= valid["catalog"][kind].keys()


@pytest.fixture
def registered(tmp_path):
    """Load the page's modules; afterwards the registries are as they were."""
    with loaded(tmp_path):
        yield METHODS, METRICS


def test_modules_are_short_and_named_by_the_study_or_shown_for_themselves():
    modules = {name: text for name, text in files().items() if name.endswith(".py")}
    assert all(len(text.splitlines()) <= 60 for text in modules.values())
    assert set(examples.study()["plugins"]) | {"focus.py", "folders.py", "activation.py", "confidence.py"} == set(
        modules
    )


def test_the_method_is_registered_and_right(registered):
    methods, _ = registered
    activations, gradients = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    found = methods["gradcam_elementwise"].function(activations, gradients)
    a, g = activations.numpy(), gradients.numpy()
    expected = sum(np.maximum(g[:, k] * a[:, k], 0) for k in range(3))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_the_method_that_asks_the_model_is_registered_and_right(registered):
    model, images = net().float(), pixels(3).float()
    layer, labels = resolve_target_layer(model, "layer"), np.arange(3)
    settings = {"batch_size": 3, "mean": MEAN, "std": STD}
    method = bind("occlusion", {"cells": 4})
    found = explain(model, layer, normalize(images), labels, {"map": method}, **settings).maps["map"]
    assert found.shape == (3, *map_shape(model, layer, SIDE, method)) == (3, 4, 4)
    for i, y, x in np.ndindex(found.shape):
        hidden = images[i].clone()
        hidden[:, y * 4 : y * 4 + 4, x * 4 : x * 4 + 4] = 0
        with torch.no_grad():
            whole, part = model(normalize(torch.stack([images[i], hidden]))).softmax(1)[:, i]
        assert found[i, y, x] == pytest.approx((whole - part).item(), abs=1e-6)
    assert np.ptp(found, (1, 2)).max() > 0.1
    with pytest.raises(CamstudyError, match="`cells` must be at most 16, found 17"):
        explain(model, layer, normalize(images), labels, {"map": bind("occlusion", {"cells": 17})}, **settings)


def test_the_metric_becomes_a_column_of_the_scores(registered):
    rng = np.random.default_rng(0)
    human = rng.random((3, 16, 16))
    maps = human * np.array([2.0, 1.0, 0.0])[:, None, None]
    found = score_family("agreement", {"heatmap": maps, "human_map": human}, metrics=["cosine"])
    np.testing.assert_allclose(found["cosine"], [1, 1, 0], atol=1e-12)


def test_the_family_finds_the_share_of_the_peak(registered):
    rng = np.random.default_rng(0)
    maps = rng.random((4, 10, 10)) - 5
    maps[3] = 2
    found = METRICS["peak_mass"].function(maps, share=0.2)
    for one, value in zip(maps[:3], found, strict=False):
        above = sorted((one - one.min()).ravel().tolist(), reverse=True)
        assert value == pytest.approx(sum(above[:20]) / sum(above))
    assert found[3] == 0


def test_the_table_has_the_best_method_first(registered):
    inputs = make_inputs()
    table = TABLES["ranking"].function(inputs)
    first, methods = inputs.study["models"][0], inputs.study["methods"]
    found = [row.cells[first].value for row in table.rows]
    scores = inputs.scores[(inputs.scores["model"] == first) & (inputs.scores["metric"] == "alignment")]
    assert found == sorted(scores.set_index("method")["mean"][methods], reverse=True)
    assert len(found) == len(methods) > 1
    for render in RENDERERS.values():
        assert all(inputs.method_title(method) in render(table) for method in methods)


def test_the_figure_has_a_bar_for_each_method(registered):
    inputs = make_inputs()
    axis = FIGURES["bars"].function(inputs).axes[0]
    rows = inputs.scores[(inputs.scores["metric"] == "alignment") & inputs.scores["model"].isin(inputs.study["models"])]
    expected = rows.groupby("method")["mean"].mean()[inputs.study["methods"]]
    np.testing.assert_allclose([bar.get_width() for bar in axis.patches], expected)


def test_the_network_is_built_and_its_layer_found(registered):
    entry = {"arch": "my_networks.tiny_net", "num_classes": 10}
    network = build_model(entry).eval()
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 10)
    assert map_shape(network, resolve_target_layer(network, None), 64, bind("gradcam", {})) == (8, 8)


def test_the_source_reads_folders(registered, tmp_path):
    for name in ("zebra/1.png", "ant/2.png", "ant/1.png"):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / "root" / name)
    found = SOURCES["folders"].function({}, Root(tmp_path / "root"))
    items = [(photograph.name, photograph.label) for photograph in found.photographs]
    assert items == [("ant/1.png", 0), ("ant/2.png", 0), ("zebra/1.png", 1)]
    assert found.class_names == ["ant", "zebra"]
    (tmp_path / "none").mkdir()
    with pytest.raises(CamstudyError, match="has no images in folders; put a folder for each class there"):
        SOURCES["folders"].function({}, Root(tmp_path / "none"))


def test_the_variant_replaces_every_relu(registered):
    entry = {"arch": "resnet18", "num_classes": 10}
    before, after = build_model(entry), build_model(entry | {"variant": {"activation": {"kind": "GELU"}}})
    assert [type(module) for module in after.modules()] == [
        torch.nn.GELU if isinstance(module, torch.nn.ReLU) else type(module) for module in before.modules()
    ]


def test_the_term_is_minus_the_entropy(registered):
    logits = torch.randn(5, 7, dtype=torch.float64)
    recipe = {"terms": {"confidence": {"weight": 0.3}}, "label_smoothing": 0.1, "positions": {"repulsive_loss": False}}
    assert asked(recipe).keys() == {"cross_entropy", "confidence"}
    found = TERMS["confidence"].function(Batch(None, None, None, logits, 0), **asked(recipe)["confidence"])
    expected = -0.3 * np.mean(scipy.stats.entropy(logits.softmax(1).numpy(), axis=1))
    assert found.item() == pytest.approx(expected)
