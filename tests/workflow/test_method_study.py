"""A study of methods through the workflow: from maps to the tables and figures of faithfulness and localisation."""

import numpy as np
import pandas as pd
import pytest
from conftest import RESNET, Project
from PIL import Image

N = 8
STUDY = {
    "study": "methods",
    "dataset": "small",
    "models": ["net"],
    "methods": ["fake_cam", "gradcam", "guided_backprop"],
    "controls": ["center_bias"],
    "protocols": ["quick", "boxes", "two_steps"],
    "cost": "once",
    "statistics": {"resamples": 199},
    "qualitative": {"n_images": 2},
    "tables": ["faithfulness", "localization"],
    "figures": ["method_grid", "distribution", "insertion_deletion", "faithfulness_localization", "randomization"],
    "explain": {"chunk_size": 4, "batch_size": 8},
    "device": "cpu",
    "threads": {"explain": 1},
    "comparisons": [],
    "catalog": {
        "datasets": {"small": {"source": "digits", "split": "val", "n_images": N}},
        "models": {"net": RESNET | {"train": None, "weights": "random"}},
        "protocols": {
            "quick": {"family": "faithfulness", "step": 12544},
            "two_steps": {"family": "sanity", "n_images": 3, "steps": 2},
            "once": {"family": "cost", "batch_size": 4, "repeats": 1, "seconds": 1},
        },
    },
}
SCORES = "results/scores/small"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = Project(tmp_path_factory.mktemp("methods"))
    project.write_study(STUDY)
    project.run()
    return project


def parts(project, model, method, protocol):
    """Return the scores of a model and method, of all jobs that made them."""
    place = project.path / SCORES / model / method
    files = (
        [place / f"{protocol}.parquet"]
        if (place / f"{protocol}.parquet").exists()
        else sorted(place.glob(f"{protocol}/*"))
    )
    return pd.concat(map(pd.read_parquet, files), ignore_index=True)


def test_tables_hold_the_means_of_the_images(project):
    table = pd.read_csv(project.path / "results/studies/methods/tables/faithfulness.csv").set_index(["model", "method"])
    assert [method for _, method in table.index] == ["fake_cam", "gradcam", "guided_backprop", "center_bias"]
    for (model, method), row in table.iterrows():
        scores = parts(project, model, method, "quick")
        assert len(scores) == N
        for metric in ("average_drop", "average_gain", "insertion_auc"):
            assert row[metric] == pytest.approx(100 * scores[metric].mean(), abs=1e-4)
            assert row[f"{metric}_n"] == N
    assert (table.loc["net", "seconds_per_image"].drop("center_bias") > 0).all()
    assert table.loc[("net", "fake_cam"), "average_drop"] < 1
    table = pd.read_csv(project.path / "results/studies/methods/tables/localization.csv").set_index(["model", "method"])
    located = parts(project, "control", "center_bias", "boxes")
    expected = 100 * located["pixel_f1"].mean()
    assert table.loc[("net", "center_bias"), "pixel_f1"] == pytest.approx(expected, abs=1e-4)
    tried = parts(project, "net", "center_bias", "quick")
    assert table.loc[("net", "center_bias"), "saliency_metric"] == pytest.approx(
        tried["saliency_metric"].mean(), abs=1e-4
    )
    hits = np.stack(parts(project, "net", "gradcam", "boxes")["box_hits"])
    assert table.loc[("net", "gradcam"), "box_accuracy"] == pytest.approx(100 * hits.mean(0).max(), abs=1e-4)


def test_the_long_table_has_every_family_and_no_people(project):
    scores = pd.read_parquet(project.path / "results/studies/methods/scores.parquet")
    metrics = set(scores["metric"])
    assert {"average_drop", "box_accuracy", "randomization_spearman", "top1"} <= metrics
    assert not metrics & {"spearman", "alignment"}
    by_metric = {name: set(part["protocol"]) for name, part in scores.groupby("metric")}
    expected = {"average_drop": "quick", "box_accuracy": "boxes", "randomization_spearman": "two_steps", "top1": ""}
    assert {name: by_metric[name] for name in expected} == {name: {text} for name, text in expected.items()}
    assert not (project.path / "results/scores/small/human_ceiling.json").exists()
    assert set(scores.loc[scores["metric"] == "randomization_spearman", "n"]) == {3}
    fake = scores.query("method == 'fake_cam' and metric == 'randomization_spearman'")
    assert fake["mean"].tolist() == pytest.approx([1])


@pytest.mark.parametrize("name", STUDY["figures"])
def test_figures_are_not_empty(project, name):
    """How they look is compared in the unit tests."""
    with Image.open(project.path / f"results/studies/methods/figures/{name}.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_nothing_is_left_and_a_look_makes_tables_alone(project):
    assert "Nothing to be done" in project.run("--dry-run").stdout
    project.write_study(STUDY | {"show_intervals": True})
    planned = project.run("--dry-run").stdout
    assert "Make table faithfulness of methods" in planned
    assert "Make table localization of methods" in planned
    for words in ("Explain", "Score", "Aggregate", "Draw", "Measure"):
        assert words not in planned, words
    project.write_study(STUDY)


def test_what_a_table_shows_must_be_scored(project):
    project.write_study(STUDY | {"protocols": ["quick"]})
    done = project.run("--dry-run", check=False)
    assert done.returncode != 0
    expected = ": `localization` shows localization; add to `protocols` one of localization: `boxes`"
    assert expected in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    project.write_study(STUDY)
