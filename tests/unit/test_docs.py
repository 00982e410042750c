"""The examples of docs/extending.md: configurations validate, code runs and does what it says."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from nets import MEAN, SIDE, STD, net, normalize, pixels
from PIL import Image
from torch import Tensor

from camstudy.core.errors import CamstudyError
from camstudy.core.parts import write_scores
from camstudy.data.dataset import ATTRIBUTES, open_dataset, write_dataset
from camstudy.data.formats.clickme import Record
from camstudy.data.formats.files import Files
from camstudy.data.formats.photographs import Photograph, write_photographs
from camstudy.explain.context import Context
from camstudy.explain.engine import explain, map_shape
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import (
    METHODS,
    bind,
    controls,  # noqa: F401  (importing them registers them)
)
from camstudy.explain.registry import check
from camstudy.explain.store import ATTRIBUTES as MAP_ATTRIBUTES
from camstudy.explain.store import heatmap_writer
from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import score_family
from camstudy.study.checks import validate
from camstudy.study.protocols import metric_names, shipped

# Images of the demo, and of the page's trial with ImageNet.
DEMO, TRIAL = 384, 8
DIGITS = [str(digit) for digit in range(10)]

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
    found = score_family("agreement", {"heatmap": maps, "human_map": human}, metrics=["cosine"])
    np.testing.assert_allclose(found["cosine"], [1, 1, 0], atol=1e-12)


def words(text: str) -> list[str]:
    return sorted(re.split(r"[\s,]+", text.replace("(", " ( ").replace(")", " ) ")))


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A folder `results` as the demo and a study of ImageNet leave it, but for its values."""
    monkeypatch.chdir(tmp_path)
    rng, labels = np.random.default_rng(0), np.arange(DEMO) % 10
    blank = np.zeros((256, 256), np.uint8)

    def records(part):
        for index in range(part.start, part.stop):
            yield Record(
                *(np.full((256, 256, 3), index % 256, np.uint8), blank, int(labels[index]), np.stack([blank, blank])),
                *("results/raw/digits_clickme/0.tfrecord", index, np.array([[0, 0, 9, 9]]), blank),
            )

    attrs = dict.fromkeys(ATTRIBUTES) | {"class_names": DIGITS}
    manifest = "results/data/digits_clickme.json"
    write_dataset(manifest, records, n=DEMO, attrs=attrs, identity="f", has_halves=True, max_boxes=1)
    dataset = open_dataset(manifest)
    writer = heatmap_writer(
        "results/heatmaps/digits_clickme/resnet_mini/gradcam.json",
        shape=(7, 7),
        chunk=256,
        attrs=dict.fromkeys(MAP_ATTRIBUTES) | {"images": [0, DEMO, DEMO], "crop_box": [0, 0, 1, 1]},
        identity="f",
        names=dataset.names(),
        labels=dataset.labels,
    )
    maps = rng.random((DEMO, 7, 7))
    for part in writer.pending():
        writer.write(part, heatmap=maps[part], target=labels[part])
    writer.finish()
    scores = pd.DataFrame({"image": np.arange(DEMO), "spearman": rng.random(DEMO)})
    path = Path("results/scores/digits_clickme/resnet_mini/gradcam/human_maps.parquet")
    path.parent.mkdir(parents=True)
    write_scores(path, scores, dataset, slice(0, DEMO))
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, TRIAL + 1)]
    Path("images").mkdir()
    for number, name in enumerate(names):
        Image.fromarray(np.full((10, 20, 3), 20 * number, np.uint8)).save(Path("images", name), "JPEG")
    items = [Photograph(name, number % 2) for number, name in enumerate(names)]
    about = {"attrs": attrs | {"class_names": ["tench, Tinca tinca", "goldfish, Carassius auratus"]}, "identity": "f"}
    write_photographs("results/data/trial.json", Files("images"), items, **about)
    return maps, scores["spearman"].to_numpy(), labels


@pytest.mark.filterwarnings("error")
def test_stores_are_what_the_page_shows(results, capsys):
    maps, scores, labels = results
    names: dict = {}
    code = [block for block in blocks("python") if block not in examples()]
    shown = blocks("text")
    assert len(code) == len(shown) == 3
    for block, text in zip(code, shown, strict=True):
        exec(block, names)
        # xarray lists arrays in the order of the file system.
        assert words(capsys.readouterr().out) == words(text)
    worst = int(scores.argmin())
    assert (names["scene"].values == worst % 256).all()
    np.testing.assert_array_equal(names["map_of_it"].values, maps[worst].astype(np.float32))
    expected = [maps[labels == digit].mean(0) for digit in range(10)]
    np.testing.assert_allclose(names["mean_of_class"].values, expected, rtol=1e-5)
    assert (names["pixels"].shape, abs(int(names["pixels"].mean()) - 140) < 3) == ((10, 20, 3), True)
