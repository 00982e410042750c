"""A study of CA-Stream through the workflow: a network, the same with a stream, and what tables say of both."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import RESNET, Project
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from camstudy.core.provenance import read_json
from camstudy.explain.store import Heatmaps

N = 12
STUDY = {
    "study": "pooling",
    "dataset": "small",
    "models": ["net", "net_ca"],
    "methods": ["gradcam", "raw_attention"],
    "controls": [],
    "comparisons": [{"baseline": "net", "variant": "net_ca", "title": "Net"}],
    "protocols": ["quick"],
    "cost": "once",
    "statistics": {"resamples": 199},
    "qualitative": {"n_images": 2},
    "tables": ["pooling", "faithfulness"],
    "figures": ["method_grid", "insertion_deletion"],
    "explain": {"chunk_size": 4, "batch_size": 8},
    "device": "cpu",
    "threads": {"prepare": 1, "train": 1, "explain": 1},
    "catalog": {
        "datasets": {
            "small": {"source": "digits", "split": "val", "n_images": N},
            "tiny_train": {"source": "digits", "split": "train", "n_images": 96, "human_ceiling": None},
        },
        "models": {
            "net": RESNET | {"title": "GAP"},
            "net_ca": RESNET
            | {
                "title": "CA",
                "weights": {"model": "net"},
                "variant": {"castream": {}},
                "train": RESNET["train"] | {"trainable": ["stream"], "hold_out": 0.25, "select": "best"},
            },
        },
        "protocols": {
            "quick": {"family": "faithfulness", "step": 12544},
            "once": {"family": "cost", "batch_size": 4, "repeats": 1, "seconds": 1},
        },
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("pooling"))
    project.write_study(STUDY)
    project.run()
    return project


def test_the_stream_alone_was_trained(project):
    models = project.path / "results/models"
    plain, changed = (load_file(models / name / "model.safetensors") for name in ("net", "net_ca"))
    assert all(np.array_equal(changed[name], tensor) for name, tensor in plain.items())
    assert {name for name in changed if name not in plain} == {name for name in changed if name.startswith("stream.")}
    history = pd.read_csv(models / "net_ca/history.csv")
    assert history["epoch"].tolist() == [1, 2, 3]
    best = history.loc[history["validation_loss"].idxmin()]
    record = read_json(models / "net_ca/model.json")
    assert record["training"]["epoch"] == best["epoch"]
    assert record["training"]["validation_loss"] == pytest.approx(best["validation_loss"])
    assert "validation_loss" not in pd.read_csv(models / "net/history.csv")


def test_attention_is_of_the_model_with_a_stream(project):
    place = project.path / "results/heatmaps/small"
    assert not (place / "net/raw_attention.json").exists()
    maps = Heatmaps([place / "net_ca/raw_attention.json"]).maps(slice(None))
    assert maps.shape == (N, 4, 4)
    np.testing.assert_allclose(maps.sum((1, 2)), 1, rtol=1e-5)
    assert Heatmaps([place / "net_ca/gradcam.json"]).maps(slice(None)).shape == (N, 4, 4)


def test_the_table_holds_the_means_and_differences_of_the_images(project):
    table = pd.read_csv(project.path / "results/studies/pooling/tables/pooling.csv", keep_default_na=False)
    assert list(zip(table["pooling"], table["method"], strict=True)) == [
        *(("GAP", ""), ("CA", "")),
        *(("GAP", "gradcam"), ("CA", "gradcam"), ("CA − GAP", "gradcam")),
        ("CA", "raw_attention"),
    ]
    rows = {(row["pooling"], row["method"]): row for _, row in table.iterrows()}
    frames = {
        model: pd.read_parquet(project.path / f"results/scores/small/{model}/gradcam/quick.parquet").set_index("image")
        for model in ("net", "net_ca")
    }
    for metric in ("average_drop", "insertion_auc"):
        values = [100 * frames[model][metric] for model in ("net", "net_ca")]
        assert float(rows["GAP", "gradcam"][metric]) == pytest.approx(values[0].mean(), abs=1e-4)
        difference = float(rows["CA − GAP", "gradcam"][metric])
        assert difference == pytest.approx((values[1] - values[0]).mean(), abs=1e-4)
    counts = {name: int(rows[name, ""]["parameters"]) for name in ("GAP", "CA")}
    # timm's stem is 64 wide whatever the stages are.
    widths = [64, 8, 12, 16, 24, 24]
    added = sum(width * after + after for width, after in itertools.pairwise(widths)) + widths[0]
    assert counts["CA"] - counts["GAP"] == added == int(rows["CA", ""]["stream_parameters"])


def test_nothing_is_left_and_another_recipe_trains_the_stream_alone(project):
    assert "Nothing to be done" in project.run("--dry-run").stdout
    models = STUDY["catalog"]["models"]
    changed = models["net_ca"] | {"train": models["net_ca"]["train"] | {"nesterov": False}}
    project.write_study(STUDY | {"catalog": STUDY["catalog"] | {"models": models | {"net_ca": changed}}})
    planned = project.run("--dry-run").stdout
    assert "Train net_ca" in planned
    assert "Explain net_ca on small with raw_attention" in planned
    assert "Explain net on" not in planned
    written = models["net_ca"] | {"train": models["net_ca"]["train"] | {"nesterov": True, "drops": None}}
    project.write_study(STUDY | {"catalog": STUDY["catalog"] | {"models": models | {"net_ca": written}}})
    assert "Nothing to be done" in project.run("--dry-run").stdout
    project.write_study(STUDY)


def test_maps_of_both_poolings_are_correlated(project):
    (row,) = pd.read_parquet(project.path / "results/studies/pooling/similarity.parquet").to_dict("records")
    assert (row["baseline"], row["variant"], row["method"], row["n"]) == ("net", "net_ca", "gradcam", N)
    where = "results/heatmaps/small/{}/gradcam.json"
    first, second = (Heatmaps([project.path / where.format(name)]).maps() for name in ("net", "net_ca"))
    pairs = zip(first.reshape(N, -1), second.reshape(N, -1), strict=True)
    # A network of a few steps may have constant maps.
    expected = [spearmanr(*pair)[0] if all(map(np.ptp, pair)) else 0 for pair in pairs]
    assert row["mean"] == pytest.approx(np.mean(expected), abs=1e-9)
    assert "Correlation of maps" in (project.path / "results/studies/pooling/tables/pooling.md").read_text()
