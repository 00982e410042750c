"""Weights in the workflow: laid over the catalogue as files, fetched, assembled and recorded; refused in words."""

import json

import pytest
import torch
import yaml
from conftest import ROOT, TINY, Project
from layouts import NARROW, checkpoint, official, randomised

from camstudy.models.build import build_model
from camstudy.models.checkpoints import read_metadata, save_model
from camstudy.provenance import sha256_file

CATALOG = yaml.safe_load((ROOT / "config/catalog/imagenet_models.yaml").read_text())["catalog"]["models"]
SMALL = {"kwargs": NARROW["convnext_tiny"], "num_classes": 10, "input": {"size": 64, "crop_pct": 1.0}}
NAMES = ("convnext_tiny", "convnext_tiny_dcls")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The catalogue's ConvNeXts in small, their weights in files; the weights' other keys stay the catalogue's."""
    project = Project(tmp_path_factory.mktemp("project"))
    networks = {name: randomised(build_model(CATALOG[name] | SMALL)) for name in NAMES}
    save_model(networks["convnext_tiny"], project.path / "model.safetensors")
    state = official("convnext_tiny", networks["convnext_tiny_dcls"])
    torch.save(checkpoint("convnext_tiny", state, "model"), project.path / "published.pth")
    write_study(project)
    return project


def write_study(project, **weights):
    files = dict(zip(NAMES, ("model.safetensors", "published.pth"), strict=True))
    models = {name: SMALL | {"weights": {"url": (project.path / file).as_uri()}} for name, file in files.items()}
    models["convnext_tiny_dcls"]["weights"] |= weights
    catalog = {**TINY["catalog"], "models": models}
    comparisons = [{"baseline": NAMES[0], "variant": NAMES[1]}]
    project.write_study({**TINY, "models": list(NAMES), "comparisons": comparisons, "catalog": catalog})


def test_weights_are_fetched_assembled_and_recorded(project):
    done = project.run(*(f"results/models/{name}/model.json" for name in NAMES))
    for name, file in zip(NAMES, ("model.safetensors", "published.pth"), strict=True):
        record = json.loads((project.path / f"results/models/{name}/model.json").read_text())
        digest = sha256_file(project.path / file)
        assert record["start"]["sha256"] == digest
        assert record["start"]["source"] == (project.path / file).as_uri()
        assert record["start"]["include_variant"] is (name == NAMES[1])
        line = f"pin it with `catalog.models.{name}.weights.sha256: {digest}`"
        assert line in done.stderr
        assert line in (project.path / f"results/logs/fetch_weights/{name}.log").read_text()
    assert read_metadata(project.path / f"results/models/{NAMES[1]}/model.safetensors") == {"dcls_version": "v0"}
    assert sorted(path.name for path in (project.path / "results/weights").iterdir()) == sorted(
        f"{name}.{ending}" for name in NAMES for ending in ("json", "safetensors")
    )


def test_refused_weights_leave_nothing(project):
    write_study(project, sha256="0" * 64)
    done = project.run("results/models/convnext_tiny_dcls/model.json", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"expected {'0' * 64}; nothing was kept" in output
    assert "Traceback" not in output
    assert not list((project.path / "results/weights").glob("convnext_tiny_dcls*"))
