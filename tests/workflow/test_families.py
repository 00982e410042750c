"""Scores of masked images and of boxes, as the workflow makes them: asked for by file, for models and for controls."""

import numpy as np
import pandas as pd
import pytest
from conftest import RESNET, Project

from camstudy.data.store import open_dataset
from camstudy.explain.store import Heatmaps
from camstudy.geometry import resample
from camstudy.metrics.localization import energy_pointing_game

N = 12
STUDY = {
    "study": "small",
    "dataset": "small",
    "models": ["net"],
    "methods": ["gradcam"],
    "controls": ["center_bias"],
    "comparisons": [],
    "faithfulness": {"step": 12544, "perturbation": True},
    "localization": {"max_box_share": 0.08, "pointing_ties": "any"},
    "explain": {"chunk_size": 4, "batch_size": 8},
    "device": "cpu",
    "threads": {"train": 1, "explain": 1},
    "catalog": {
        "datasets": {"small": {"source": "digits", "split": "val", "n_images": N}},
        "models": {"net": RESNET | {"train": None, "weights": "random", "input": {"size": 32, "crop_pct": 0.25}}},
    },
}
MODEL, CONTROL = "results/scores/small/net", "results/scores/small/control/center_bias"
TARGETS = [
    *(f"{MODEL}/gradcam/faithfulness.parquet", f"{MODEL}/gradcam/localization.parquet"),
    *(f"{MODEL}/center_bias/faithfulness/{number}-of-2.parquet" for number in (1, 2)),
    f"{CONTROL}/localization.parquet",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with these scores and no others."""
    project = Project(tmp_path_factory.mktemp("families"))
    project.write_study(STUDY)
    project.run("--", *TARGETS)
    return project


def read(project, *names):
    return pd.concat([pd.read_parquet(project.path / name) for name in names], ignore_index=True)


def test_faithfulness_has_a_row_per_image_and_its_curves(project):
    scores, curves = (read(project, f"{MODEL}/gradcam/{name}.parquet") for name in ("faithfulness", "curves"))
    assert scores["image"].tolist() == curves["image"].tolist() == list(range(N))
    for name in ("insertion", "deletion"):
        points = np.stack(curves[name])
        assert points.shape == (N, 5)  # a quarter of the pixels at a time
        np.testing.assert_allclose(scores[f"{name}_auc"], np.trapezoid(points, dx=1 / 4, axis=1), atol=1e-6)
    np.testing.assert_allclose(np.stack(curves["insertion"])[:, -1], np.stack(curves["deletion"])[:, 0])
    expected = read(project, f"{MODEL}/accuracy.parquet")
    clean = np.stack(curves["deletion"])[:, 0]
    np.testing.assert_allclose(clean, expected["probability"], atol=1e-5)  # the label is explained
    assert {"average_drop", "average_gain", "positive_perturbation", "saliency_metric"} <= set(scores.columns)


def test_a_control_is_tried_in_parts_on_what_the_model_sees(project):
    parts = [f"{MODEL}/center_bias/faithfulness/{number}-of-2.parquet" for number in (1, 2)]
    scores = read(project, *parts)
    assert scores["image"].tolist() == list(range(N))
    own = read(project, f"{MODEL}/gradcam/curves.parquet")
    control = read(project, *(name.replace("faithfulness", "curves") for name in parts))
    # The same image and model, another order of the pixels.
    ends = [[np.stack(table["deletion"])[:, end] for end in (0, -1)] for table in (own, control)]
    np.testing.assert_allclose(*ends, atol=1e-6)


def test_localization_counts_boxes_that_the_crop_cuts_off(project):
    scores, control = (
        read(project, f"{MODEL}/gradcam/localization.parquet"),
        read(project, f"{CONTROL}/localization.parquet"),
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
    project.write_study(STUDY | {"faithfulness": {"protocol": "castream"}})
    planned = project.run("--dry-run", "--", *TARGETS).stdout
    assert "Try net on small masked by gradcam\n" in planned
    assert "with the boxes of small" not in planned
    project.write_study(STUDY)
