"""Fine-tuning on ImageNet's training images: the catalogue's recipes can be planned, and one in miniature runs."""

import json
import re

import pandas as pd
import pytest
from conftest import TINY, Project
from layouts import NARROW, randomised
from trees import as_train

from camstudy.models.build import build_model
from camstudy.models.weights.checkpoints import save_model

NAMES = (
    *("resnet50", "convnext_tiny", "convnext_small", "convnext_base"),
    *("caformer_s18", "convformer_s18", "fastvit_sa24", "fastvit_sa36"),
)
SMALL = {"kwargs": NARROW["convnext_tiny"], "num_classes": 10, "input": {"size": 32, "crop_pct": 1.0}}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project"))


GROUPS = {f"n0000000{number}": 3 + number % 2 for number in range(10)}


def write_study(project, selected, dataset="tiny", **catalog):
    own = {
        "dataset": dataset,
        "controls": ["random"],
        "models": selected,
        "comparisons": [],
        "catalog": TINY["catalog"] | catalog,
    }
    project.write_study({**TINY, **own})


def test_all_recipes_can_be_planned(project):
    models = [f"{name}_dcls_finetuned" for name in NAMES]
    datasets = TINY["catalog"]["datasets"] | {"imagenet_train": {"root": "nowhere"}}
    write_study(project, models, "clickme_val", datasets=datasets)
    missing = project.run("--dry-run", check=False)
    assert missing.returncode == 1
    place = r"datasets\.imagenet_train\.root` \(.*\)"
    text = "no directory `nowhere` .*; make it and put the training images"
    assert re.search(f"{place}: {text}", missing.stdout + missing.stderr)

    (project.path / "nowhere").mkdir()
    output = project.run("--dry-run").stdout
    assert "Prepare imagenet_train\n" in output
    for name in NAMES:
        assert f"Fetch and verify the starting weights of {name}\n" in output
        assert f"Assemble {name} as it is, without training\n" in output
        assert f"Train {name}_dcls_finetuned\n" in output
        assert f"Explain {name}_dcls_finetuned on clickme_val with gradcam\n" in output


def test_one_recipe_runs_in_miniature_and_is_done(project):
    (project.path / "imagenet").mkdir(exist_ok=True)
    as_train(project.path / "imagenet", GROUPS)
    entry = {"arch": "convnext_tiny.fb_in1k", **SMALL}
    save_model(randomised(build_model(entry)), project.path / "start.safetensors")
    models = {
        "convnext_tiny": SMALL | {"weights": {"url": (project.path / "start.safetensors").as_uri()}},
        "convnext_tiny_dcls_finetuned": SMALL
        | {"train": {"epochs": 2, "batch_size": 8, "accumulate": 2, "warmup_epochs": 1}},
    }
    datasets = TINY["catalog"]["datasets"] | {"imagenet_train": {"root": "imagenet", "num_classes": 10}}
    write_study(project, ["convnext_tiny_dcls_finetuned"], models=models, datasets=datasets)
    target = "results/models/convnext_tiny_dcls_finetuned/model.json"
    project.run(target)

    record = json.loads((project.path / target).read_text())
    recipe = record["entry"]["train"]
    assert (recipe["ema_decay"], recipe["precision"], recipe["weight_decay"]) == (0.9999, "bfloat16", 0.05)
    assert record["start"]["entry"]["variant"] == {}
    history = pd.read_csv(project.path / "results/models/convnext_tiny_dcls_finetuned/history.csv")
    assert history["epoch"].tolist() == [1, 2]
    manifest = json.loads((project.path / "results/data/imagenet_train.json").read_text())
    assert manifest["n_images"] == sum(GROUPS.values())
    assert "Nothing to be done" in project.run("--dry-run", target).stdout
