"""The demo's transformer: first layers of the ResNet, a killed training that goes on, a record that is right."""

import json

import pytest
import torch
import yaml
from conftest import ROOT
from safetensors.torch import load_file

from benchmarks import distill_vit
from camstudy.core.provenance import sha256_file

torch.set_num_threads(1)
WEIGHTS = ROOT / "config/weights"


def stems(state):
    """Return the ResNet's layers in a transformer's weights, and those of the ResNet that ships."""
    teacher = load_file(WEIGHTS / "resnet_mini.safetensors")
    prefix = "patch_embed.backbone."
    found = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    return found, {name: teacher[name] for name in found}


def test_what_ships_is_what_the_record_and_the_catalogue_say():
    record = json.loads((WEIGHTS / "vit_mini.json").read_text())
    entry = yaml.safe_load((ROOT / "config/catalog/transformers.yaml").read_text())["catalog"]["models"]["vit_mini"]
    assert entry["weights"]["sha256"] == record["sha256"] == sha256_file(WEIGHTS / "vit_mini.safetensors")
    assert record["entry"] == {key: entry[key] for key in record["entry"]}
    assert record["training"].items() >= distill_vit.RECIPE.items()
    found, expected = stems(load_file(WEIGHTS / "vit_mini.safetensors"))
    assert len(found) > 20
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.full
def test_a_killed_training_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(distill_vit, "SCENES", 40)
    monkeypatch.setattr(distill_vit, "TEST_SCENES", 10)

    def train(folder, epochs):
        folder.mkdir(exist_ok=True)
        monkeypatch.setattr(distill_vit, "RECIPE", distill_vit.RECIPE | {"epochs": epochs, "batch_size": 8})
        return distill_vit.teach(folder)

    whole = train(tmp_path / "whole", 2)
    # The schedule counts all epochs: killed after the first of two.
    original = distill_vit._accuracy
    calls = []

    def dies(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*given)

    monkeypatch.setattr(distill_vit, "_accuracy", dies)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", 2)
    monkeypatch.setattr(distill_vit, "_accuracy", original)
    assert train(tmp_path / "killed", 2)["training"] == whole["training"]
    first, second = (load_file(tmp_path / name / "vit_mini.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(first[name], second[name]) for name in first)
    found, expected = stems(first)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
