"""A study of multi-label data through the workflow: sigmoid heads trained on sets of digits, explained item by item."""

import numpy as np
import pandas as pd
import pytest
from conftest import RESNET, Project
from sklearn.metrics import average_precision_score

from camstudy.core.provenance import read_json
from camstudy.data.dataset import open_dataset
from camstudy.explain.store import Heatmaps

N, IMAGES = 18, 9
SETS = RESNET | {"head": "sigmoid"}
STUDY = {
    "study": "sets",
    "dataset": "scenes",
    "models": ["net", "net_ca"],
    "methods": ["gradcam", "raw_attention"],
    "controls": [],
    "comparisons": [{"baseline": "net", "variant": "net_ca", "title": "Net"}],
    "protocols": ["quick", "boxes"],
    "cost": "once",
    "statistics": {"resamples": 199},
    "tables": ["pooling", "scores"],
    "figures": ["class_specific"],
    "explain": {"chunk_size": 4, "batch_size": 8},
    "device": "cpu",
    "threads": {"prepare": 1, "train": 1, "explain": 1},
    "catalog": {
        "datasets": {
            "scenes": {"source": "digits", "split": "val", "n_images": N, "label_sets": True},
            "tiny_train": {
                **{"source": "digits", "split": "train", "n_images": 96, "label_sets": True, "human_ceiling": None},
            },
        },
        "models": {
            "net": SETS | {"title": "GAP"},
            "net_ca": SETS
            | {
                "title": "CA",
                "weights": {"model": "net"},
                "variant": {"castream": {}},
                "train": SETS["train"] | {"trainable": ["stream"], "hold_out": 0.25, "epochs": 2},
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
    project = Project(tmp_path_factory.mktemp("sets"))
    project.write_study(STUDY)
    project.run()
    return project


def read(project, *parts):
    return pd.read_parquet(project.path.joinpath("results", *parts)).set_index("image").sort_index()


def test_networks_learn_sets_and_are_validated(project):
    models = project.path / "results/models"
    history = pd.read_csv(models / "net_ca/history.csv")
    assert history["validation_mean_average_precision"].between(0, 1).all()
    assert read_json(models / "net_ca/model.json")["training"]["validation_loss"] > 0


def test_each_item_is_explained_by_its_class_and_scored_by_its_sigmoid(project):
    dataset = open_dataset(project.path / "results/data/scenes.json")
    assert len(np.unique(dataset.sources)) == IMAGES
    maps = Heatmaps([project.path / "results/heatmaps/scenes/net/gradcam.json"])
    assert maps.targets().tolist() == dataset.labels.tolist()
    attention = Heatmaps([project.path / "results/heatmaps/scenes/net_ca/raw_attention.json"]).maps(slice(None))
    # Nothing is asked about a class: items of one image have one map.
    np.testing.assert_allclose(attention, attention[dataset.sources], atol=1e-6)
    prediction = read(project, "scores/scenes/net/prediction.parquet")
    logits = np.stack(prediction["class_logit"].to_list()).astype(np.float64)
    np.testing.assert_allclose(logits, logits[dataset.sources], atol=1e-6)
    own = 1 / (1 + np.exp(-logits[np.arange(N), dataset.labels]))
    np.testing.assert_allclose(prediction["probability"], own, rtol=1e-6)
    curves = read(project, "scores/scenes/net/gradcam/quick.curves.parquet")
    np.testing.assert_allclose(np.stack(curves["deletion"].to_list())[:, 0], own, rtol=1e-4)
    scores = read(project, "scores/scenes/net/gradcam/boxes.parquet")
    # Found, and more probable than not.
    missed = scores["localization_error"].to_numpy(bool) | (own <= 0.5)
    assert scores["official_metric"].to_numpy(bool).tolist() == missed.tolist()


def test_the_tables_state_mean_average_precision_and_count_items_and_images(project):
    folder = project.path / "results/studies/sets"
    long = pd.read_parquet(folder / "scores.parquet").set_index(["model", "method", "metric"])
    for model in ("net", "net_ca"):
        prediction = read(project, f"scores/scenes/{model}/prediction.parquet")
        dataset = open_dataset(project.path / "results/data/scenes.json")
        first = prediction.loc[np.unique(dataset.sources)]
        logits, sets = (np.stack(first[name].to_list()) for name in ("class_logit", "label_set"))
        expected = [average_precision_score(sets[:, k], logits[:, k]) for k in range(10) if sets[:, k].any()]
        row = long.loc[model, "", "mean_average_precision"]
        assert row["mean"] == pytest.approx(np.mean(expected))
        assert row["n"] == IMAGES
        assert long.loc[model, "gradcam", "average_drop"]["n"] == N
    table = pd.read_csv(folder / "tables/pooling.csv", keep_default_na=False)
    assert "top1" not in table
    mean = 100 * long.loc["net_ca", "", "mean_average_precision"]["mean"]
    shown = table[(table["pooling"] == "CA") & (table["method"] == "")]["mean_average_precision"]
    assert float(shown.iloc[0]) == pytest.approx(mean, abs=1e-4)
    text = (folder / "tables/pooling.md").read_text()
    assert f"scenes, {N} items (an image and a class that is in it) of {IMAGES} images" in text
    assert "Explained class: the item's." in text
    assert "of the means of images" in text
    assert f"Prediction: without maps, on scenes, {IMAGES} images." in (folder / "tables/scores.md").read_text()


def test_nothing_is_left_and_a_softmax_is_told(project):
    assert "Nothing to be done" in project.run("--dry-run").stdout
    models = STUDY["catalog"]["models"]
    project.write_study(STUDY | {"catalog": STUDY["catalog"] | {"models": models | {"net": RESNET | {"title": "GAP"}}}})
    told = project.run("--dry-run", check=False)
    assert "`catalog.models.net.head`" in told.stdout + told.stderr
    project.write_study(STUDY)
