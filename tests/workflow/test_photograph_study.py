"""Photographs through the workflow: ImageNet as distributed gives each model's own accuracy, gaze gives agreement."""

import io

import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from conftest import RESNET, TINY, Project
from PIL import Image
from timm.data import create_transform
from trees import CONTENTS, LABELS, as_distributed, salicon

from camstudy.models.load import load_model

INPUT = {"size": 64, "crop_pct": 0.8, "interpolation": "bicubic", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
NET = {key: value for key, value in RESNET.items() if key != "train"} | {"input": INPUT, "weights": "random"}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    (tmp_path / "imagenet").mkdir()
    as_distributed(tmp_path / "imagenet")
    (tmp_path / "salicon").mkdir()
    salicon(tmp_path / "salicon", packed=True)
    datasets = {
        "people": {"source": "salicon", "root": "../salicon", "sigma": 5, "human_ceiling": 0.8},
        "photos": {"source": "imagenet", "root": "../imagenet", "num_classes": 4},
    }
    models = {"net": NET | {"num_classes": 4}}
    methods = {"gradcam": {"target": "predicted"}}
    catalog = {"datasets": datasets, "models": models, "methods": methods}
    settings = {"dataset": "people", "models": ["net"], "methods": ["gradcam"], "comparisons": [], "catalog": catalog}
    project.write_study({**TINY, **settings, "controls": ["random", "center_bias"]})
    return project


def test_accuracy_and_agreement(project):
    accuracy = "results/scores/photos/net/prediction.parquet"
    agreement = "results/scores/people/net/gradcam/human_maps.parquet"
    project.run(accuracy, agreement)

    # timm's transform on the files themselves, and the assembled network: no code of the stages between.
    transform = create_transform((3, 64, 64), is_training=False, **{key: INPUT[key] for key in list(INPUT)[1:]})
    weights = project.path / "results/models/net/model.safetensors"
    model = load_model({"variant": {}, "kwargs": {}, **NET, "num_classes": 4}, weights)
    images = torch.stack([transform(Image.open(io.BytesIO(content)).convert("RGB")) for content in CONTENTS.values()])
    with torch.inference_mode():
        probability = model(images).softmax(1).numpy()
    found = pd.read_parquet(project.path / accuracy)
    assert found["label"].tolist() == LABELS
    assert found["predicted"].tolist() == probability.argmax(1).tolist()
    assert found["top1"].tolist() == (probability.argmax(1) == LABELS).tolist()
    assert np.allclose(found["probability"], probability[np.arange(len(LABELS)), LABELS], atol=1e-6)

    scores = pd.read_parquet(project.path / agreement)
    assert len(scores) == 2
    assert scores["spearman"].between(-1, 1).all()
    group = zarr.open_group(project.path / "results/data/people.zarr", mode="r")
    assert group["human_map"].shape == (2, 128, 128)
    assert "Nothing to be done" in project.run("--dry-run", accuracy, agreement).stdout
