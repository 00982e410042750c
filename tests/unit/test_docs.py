"""The examples of docs/extending.md: configurations validate, code runs and does what it says."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from nets import MEAN, SIDE, STD, net, normalize, pixels
from torch import Tensor

from camstudy.core.errors import CamstudyError
from camstudy.explain.context import Context
from camstudy.explain.engine import explain, map_shape
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind
from camstudy.explain.registry import check
from camstudy.metrics.alignment import score_agreement
from camstudy.metrics.families import METRICS
from camstudy.study.checks import validate
from camstudy.study.protocols import metric_names, shipped

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/extending.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def examples() -> list[str]:
    """Return the page's code that registers something."""
    return [block for block in blocks("python") if block.startswith("@")]


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
    return merged(config, yaml.safe_load((ROOT / "config/config.yaml").read_text()))


@pytest.mark.parametrize("block", blocks("yaml"))
def test_configurations_validate(block, default):
    known = {"methods": [], "controls": [], "protocols": shipped(), "metrics": metric_names}
    for method in METHODS.values():
        known["controls" if method.needs == "dataset" else "methods"].append(method.name)
    study = yaml.safe_load(block)
    valid = validate(merged(default, study), known, check_files=False)
    for kind, entries in study.get("catalog", {}).items():
        assert entries.keys() <= valid["catalog"][kind].keys()


@pytest.fixture
def registered():
    """Run the page's Python examples; afterwards the registries are as they were."""
    methods, metrics = dict(METHODS._entries), dict(METRICS._entries)
    for block in examples():
        assert len(block.splitlines()) <= 60
        names = {"METHODS": METHODS, "METRICS": METRICS, "Tensor": Tensor, "Context": Context, "check": check, "np": np}
        exec(block, names)
    yield METHODS, METRICS
    METHODS._entries, METRICS._entries = methods, metrics


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
    with pytest.raises(CamstudyError, match="`cells` must be from 1 to 16, found 17"):
        explain(model, layer, normalize(images), labels, {"map": bind("occlusion", {"cells": 17})}, **settings)


def test_the_metric_becomes_a_column_of_the_scores(registered):
    rng = np.random.default_rng(0)
    human = rng.random((3, 16, 16))
    maps = human * np.array([2.0, 1.0, 0.0])[:, None, None]
    np.testing.assert_allclose(score_agreement(maps, human, ["cosine"])["cosine"], [1, 1, 0], atol=1e-12)
