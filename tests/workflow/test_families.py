"""Scores of masked images and of boxes, as the workflow makes them: asked for by file, for models and for controls."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import RESNET, Project

from camstudy.core.geometry import resample
from camstudy.data.dataset import open_dataset
from camstudy.explain.store import Heatmaps
from camstudy.metrics.localization import energy_pointing_game

N = 12
METRICS = ["insertion_auc", "deletion_auc", "average_drop", "negative_perturbation"]
STUDY = {
    "study": "small",
    "dataset": "small",
    "models": ["net"],
    "methods": ["gradcam"],
    "controls": ["center_bias"],
    "comparisons": [],
    "protocols": ["quick", "small_boxes"],
    "tables": ["faithfulness"],
    "figures": [],
    "explain": {"chunk_size": 4, "batch_size": 8},
    "device": "cpu",
    "threads": {"train": 1, "explain": 1},
    "catalog": {
        "datasets": {"small": {"source": "digits", "split": "val", "n_images": N}},
        "models": {"net": RESNET | {"train": None, "weights": "random", "input": {"size": 32, "crop_pct": 0.25}}},
        "protocols": {
            "quick": {"family": "faithfulness", "step": 12544, "metrics": METRICS},
            "small_boxes": {"family": "localization", "max_box_share": 0.08, "pointing_ties": "any"},
        },
    },
}
PARTS = ("00000-00007", "00008-00011")
MODEL, CONTROL = "results/scores/small/net", "results/scores/small/control/center_bias"
TARGETS = [
    *(f"{MODEL}/gradcam/quick/{part}.parquet" for part in PARTS),
    f"{MODEL}/gradcam/small_boxes.parquet",
    *(f"{MODEL}/center_bias/quick/{part}.parquet" for part in PARTS),
    f"{CONTROL}/small_boxes.parquet",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with these scores and no others."""
    project = Project(tmp_path_factory.mktemp("families"))
    # Parts of few images, as their size is the same in all studies.
    project.edit("camstudy/core/parts.py", "PART = 1024", "PART = 8")
    project.write_study(STUDY)
    project.run("--", *TARGETS)
    return project


def read(project, *names):
    return pd.concat([pd.read_parquet(project.path / name) for name in names], ignore_index=True)


def test_faithfulness_has_a_row_per_image_and_its_curves(project):
    scores, curves = (
        read(project, *(f"{MODEL}/gradcam/quick/{part}{kind}.parquet" for part in PARTS)) for kind in ("", ".curves")
    )
    assert scores["image"].tolist() == curves["image"].tolist() == list(range(N))
    for name in ("insertion", "deletion"):
        points = np.stack(curves[name])
        assert points.shape == (N, 5)  # a quarter of the pixels at a time
        np.testing.assert_allclose(scores[f"{name}_auc"], np.trapezoid(points, dx=1 / 4, axis=1), atol=1e-6)
    np.testing.assert_allclose(np.stack(curves["insertion"])[:, -1], np.stack(curves["deletion"])[:, 0])
    expected = read(project, f"{MODEL}/prediction.parquet")
    clean = np.stack(curves["deletion"])[:, 0]
    np.testing.assert_allclose(clean, expected["probability"], atol=1e-5)  # the label is explained
    assert scores.columns.tolist() == ["image", "name", "label", "target", "degenerate", *METRICS]


def test_a_control_is_tried_in_parts_on_what_the_model_sees(project):
    parts = [f"{MODEL}/center_bias/quick/{part}.parquet" for part in PARTS]
    scores = read(project, *parts)
    assert scores["image"].tolist() == list(range(N))
    own = read(project, *(f"{MODEL}/gradcam/quick/{part}.curves.parquet" for part in PARTS))
    control = read(project, *(name.replace(".parquet", ".curves.parquet") for name in parts))
    # The same image and model, another order of the pixels.
    ends = [[np.stack(table["deletion"])[:, end] for end in (0, -1)] for table in (own, control)]
    np.testing.assert_allclose(*ends, atol=1e-6)


def test_localization_counts_boxes_that_the_crop_cuts_off(project):
    scores, control = (
        read(project, f"{MODEL}/gradcam/small_boxes.parquet"),
        read(project, f"{CONTROL}/small_boxes.parquet"),
    )
    dataset = open_dataset(project.path / "results/data/small.json")
    boxes = dataset.boxes()[:, 0]
    # The model sees rows and columns 96 to 160.
    seen = np.clip(boxes, 96, 160)
    there = (seen[:, 2:] - seen[:, :2] >= 64 / 224).all(1)
    assert 0 < there.sum() < N
    assert scores["n_boxes"].tolist() == there.astype(int).tolist()
    assert scores["n_boxes_dropped"].tolist() == (~there).astype(int).tolist()
    assert scores["localization_error"].isna().tolist() == (~there).tolist()
    assert scores["box_hits"].isna().tolist() == (~there).tolist()
    assert (scores["official_metric"] >= scores["localization_error"]).dropna().all()
    assert control["n_boxes"].tolist() == [1] * N
    assert "official_metric" not in control
    shares = (boxes[:, 2:] - boxes[:, :2]).prod(1) / 256**2
    assert control["energy_pointing_game"].isna().tolist() == (shares > 0.08).tolist()
    assert 0 < (shares > 0.08).sum() < N
    maps = resample(Heatmaps([project.path / "results/heatmaps/small/control/center_bias.json"]).maps())
    expected = energy_pointing_game(maps, boxes[:, None] * 224 / 256)
    kept = shares <= 0.08
    np.testing.assert_allclose(control["energy_pointing_game"][kept], expected[kept])


def test_nothing_is_left_to_do_and_settings_rescore(project):
    assert "Nothing to be done" in project.run("--dry-run", "--", *TARGETS).stdout
    entries = {**STUDY["catalog"]["protocols"]}
    entries["quick"] = entries["quick"] | {"blur": 5}
    project.write_study(STUDY | {"catalog": STUDY["catalog"] | {"protocols": entries}})
    planned = project.run("--dry-run", "--", *TARGETS).stdout
    assert "Score gradcam of net on small/00000-00007 by quick\n" in planned
    assert "by small_boxes" not in planned
    project.write_study(STUDY)


def test_a_name_stands_for_one_thing_in_all_studies(project):
    """Another study may take the scores, but not give their name to other ones."""
    assert json.loads((project.path / "results/protocols/quick.json").read_text())["study"] == "small"
    other = STUDY | {"study": "other"}
    project.write_study(other)
    assert "Nothing to be done" in project.run("--dry-run", "--", *TARGETS).stdout
    entries = {**STUDY["catalog"]["protocols"]}
    entries["quick"] = entries["quick"] | {"blur": 5}
    project.write_study(other | {"catalog": STUDY["catalog"] | {"protocols": entries}})
    done = project.run("--dry-run", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "protocol `quick`: study `small` has made scores under this name with blur 11, yours has blur 5" in output
    assert "Traceback" not in output
    entries["rise_fast"] = {"step": 224}
    project.write_study(other | {"catalog": STUDY["catalog"] | {"protocols": entries}})
    done = project.run("--dry-run", check=False)
    assert "found step 224, but the protocol `rise_fast` ships with step 1792" in done.stdout + done.stderr
    project.write_study(STUDY)


def test_a_trial_leaves_the_study_alone(project):
    results = [path for path in (project.path / "results").rglob("*") if path.is_file() and path.name != "speed.json"]
    before = {path: path.stat().st_mtime_ns for path in results}
    trial = [
        "results/scores/small-n6/net/gradcam/quick.parquet",
        "results/scores/small-n6/net/gradcam/small_boxes.parquet",
        "results/scores/small-n6/control/center_bias/small_boxes.parquet",
    ]
    project.run("--config", "n_images=6", "--", *trial)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert read(project, trial[0])["image"].tolist() == list(range(6))
    assert "Nothing to be done" in project.run("--dry-run", "--", *TARGETS).stdout
    planned = project.run("--dry-run", "--config", "n_images=6").stdout
    assert "Make table faithfulness of small-n6\n" in planned
    assert "Assemble" not in planned
