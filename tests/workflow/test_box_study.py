"""Data sets with boxes through the workflow, as distributed: localisation, and faithfulness of a control."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import RESNET, TINY, Project
from PIL import Image
from timm.data import create_transform
from trees import CUB, VOC_ITEMS, as_distributed, cub200, imagenet_boxes, picture, voc2012

from camstudy.core.geometry import resample
from camstudy.data.dataset import open_dataset
from camstudy.explain.store import Heatmaps
from camstudy.metrics.localization import energy_pointing_game
from camstudy.models.load import load_model

INPUT = {"size": 64, "crop_pct": 0.8, "interpolation": "bicubic", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
NET = {key: value for key, value in RESNET.items() if key != "train"} | {"input": INPUT, "weights": "random"}
CLASSES = {"objects": 20, "birds": 3}
OBJECTS, BIRDS = (f"results/scores/{name}/{name}_net/gradcam/boxes.parquet" for name in CLASSES)
CONTROL = "results/scores/birds/control/center_bias/boxes.parquet"
FAITHFULNESS = "results/scores/birds/birds_net/center_bias/rise_fast.parquet"
TARGETS = [OBJECTS, BIRDS, CONTROL, FAITHFULNESS, "results/data/things.json"]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    path = tmp_path_factory.mktemp("boxes")
    (path / "project").mkdir()
    project = Project(path / "project")
    for name in ("objects", "birds", "things"):
        (path / name).mkdir()
    voc2012(path / "objects", packed=True)
    cub200(path / "birds", packed=True)
    as_distributed(path / "things")
    imagenet_boxes(path / "things", packed=True)
    datasets = {
        "objects": {"source": "voc2012", "n_images": 4},
        "birds": {"source": "cub200", "num_classes": 3, "n_images": 3},
        "things": {"source": "imagenet", "num_classes": 4, "boxes": True, "n_images": 7},
    }
    datasets = {name: entry | {"root": f"../{name}"} for name, entry in datasets.items()}
    models = {f"{name}_net": NET | {"num_classes": count} for name, count in CLASSES.items()}
    settings = {"dataset": "birds", "models": ["birds_net"], "methods": ["gradcam"], "comparisons": []}
    catalog = {"datasets": datasets, "models": models}
    shown = {"protocols": ["boxes"], "tables": ["localization"], "figures": [], "controls": ["center_bias"]}
    project.write_study({**TINY, **settings, **shown, "catalog": catalog})
    project.run("--", *TARGETS)
    return project


def read(project, name):
    return pd.read_parquet(project.path / name)


def shown(size):
    """Where the model's crop lies: the shorter side becomes 80 pixels, of which 64 in the middle are kept."""
    resized = [side * 80 // min(size) for side in size]
    start = [round((side - 64) / 2) for side in resized]
    return resized, start


def test_items_of_an_image_are_scored_each_with_its_class_and_boxes(project):
    scores = read(project, OBJECTS)
    labels = [label for _, label, _ in VOC_ITEMS]
    assert scores["label"].tolist() == scores["target"].tolist() == labels
    assert scores["n_boxes"].tolist() == [1, 1, 2, 1]
    assert scores["n_boxes_dropped"].tolist() == [0] * 4
    # The first box is the whole image.
    assert scores[["pointing_game", "pointing_game_exact"]].iloc[0].tolist() == [1, 1]
    assert scores["energy_pointing_game"][0] == pytest.approx(1)
    assert (scores["pointing_game"] >= scores["pointing_game_exact"]).all()
    # 48 x 36 becomes 106 x 80, of which the model sees rows 21 to 85 and columns 8 to 72; 3.5 times that is 224.
    maps = resample(Heatmaps([project.path / "results/heatmaps/objects/objects_net/gradcam.json"]).maps())[2]
    mass = (maps - maps.min()) / np.ptp(maps)
    inside = np.zeros((224, 224), bool)
    centres = (np.arange(224) + 0.5) / 3.5
    for top, left, bottom, right in VOC_ITEMS[2][2]:
        rows = (top / 48 * 106 - 21 <= centres) & (centres < bottom / 48 * 106 - 21)
        inside |= rows[:, None] & (left / 36 * 80 - 8 <= centres) & (centres < right / 36 * 80 - 8)
    assert scores["energy_pointing_game"][2] == pytest.approx(mass[inside].sum() / mass.sum())


def test_boxes_of_imagenet_are_prepared(project):
    boxes = open_dataset(project.path / "results/data/things.json").boxes()
    assert boxes.tolist() == [[[2, index, 12, 10], [1, 0, 19, 20]] for index in range(7)]


def test_birds_are_found_or_not(project):
    birds = read(project, BIRDS)
    assert birds["label"].tolist() == [0, 1, 2]
    assert birds["n_boxes"].tolist() == [1, 1, 1]
    assert (birds["official_metric"] >= birds["localization_error"]).all()


def test_maps_of_a_control_cover_the_whole_image(project):
    scores = read(project, CONTROL)
    maps = resample(Heatmaps([project.path / "results/heatmaps/birds/control/center_bias.json"]).maps())
    rows = [row for row in CUB if not row[3]]
    boxes = []
    for *_, box, (height, width) in rows:
        x, y, w, h = map(float, box.split())
        boxes.append([[y / height, x / width, (y + h) / height, (x + w) / width]])
    expected = energy_pointing_game(maps, np.array(boxes) * 224)
    np.testing.assert_allclose(scores["energy_pointing_game"], expected)
    assert "official_metric" not in scores


def test_a_control_masks_what_the_model_sees_of_each_photograph(project):
    """timm's transform, the network, and the control's map cut like the photograph: no code of the stages between."""
    options = {key: INPUT[key] for key in ("crop_pct", "interpolation")}
    transform = create_transform((3, 64, 64), is_training=False, mean=[0] * 3, std=[1] * 3, **options)
    weights = project.path / "results/models/birds_net/model.safetensors"
    model = load_model({"variant": {}, "kwargs": {}, **NET, "num_classes": 3}, weights)
    centre = Heatmaps([project.path / "results/heatmaps/birds/control/center_bias.json"]).maps([0])[0]
    mean, std = (torch.tensor(INPUT[key])[:, None, None] for key in ("mean", "std"))
    drops, uncut = [], []
    for label, size in enumerate(row[5] for row in CUB if not row[3]):
        pixels = transform(Image.open(io.BytesIO(picture(*size))).convert("RGB"))
        resized, start = shown(size)
        box = [edge / side for shift in (0, 64) for edge, side in zip(np.add(start, shift), resized, strict=True)]
        masks = [resample(centre, (64, 64), tuple(box)), resample(centre, (64, 64))]
        masks = [torch.from_numpy((mask - mask.min()) / np.ptp(mask)) for mask in masks]
        with torch.inference_mode():
            inputs = (torch.stack([pixels, *(pixels * mask for mask in masks)]) - mean) / std
            clean, *masked = model(inputs.float()).double().softmax(1)[:, label].tolist()
        for found, probability in zip((drops, uncut), masked, strict=True):
            found.append(max(0, clean - probability) / clean)
    scores = read(project, FAITHFULNESS)
    assert scores["label"].tolist() == [0, 1, 2]
    np.testing.assert_allclose(scores["average_drop"], drops, atol=1e-5)
    assert not np.allclose(drops, uncut, atol=1e-4)


def test_nothing_is_left_to_do(project):
    assert "Nothing to be done" in project.run("--dry-run", "--", *TARGETS).stdout
