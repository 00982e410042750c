"""Fine-tuning of DCLS variants: the catalogue's recipes as stated, and one of them in miniature, killed and resumed."""

import io

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT
from layouts import NARROW, randomised
from PIL import Image
from test_imagenet_models import REFERENCE

from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.formats.imagenet import read_imagenet
from camstudy.data.formats.photographs import write_photographs
from camstudy.models.build import build_model
from camstudy.models.variants.dcls import dcls_layers, position_parameters
from camstudy.models.weights.checkpoints import save_model
from camstudy.study.checks import validate
from camstudy.training import run
from camstudy.training.run import train_entry

torch.set_num_threads(1)

WNIDS = ("n01440764", "n02119789", "n15075141")
SIZES = [(75, 100), (100, 75), (64, 64), (41, 120), (120, 41), (20, 20), (97, 61)]
EACH = 13


def read(name):
    return yaml.safe_load((ROOT / f"config/catalog/{name}.yaml").read_text())["catalog"]


@pytest.fixture(scope="module")
def catalog():
    models = read("imagenet_models")["models"] | read("finetuning")["models"]
    study = {
        "study": "s",
        "dataset": "imagenet_val",
        "models": list(models),
        "methods": ["m"],
        "protocols": ["rise_fast"],
        "catalog": {
            "datasets": read("datasets")["datasets"],
            "models": models,
            "methods": {"m": {"method": "gradcam"}},
            "protocols": read("protocols")["protocols"],
        },
    }
    return validate(study, check_files=False)["catalog"]


def test_there_is_a_recipe_for_every_architecture(catalog):
    assert set(read("finetuning")["models"]) == {f"{name}_dcls_finetuned" for name in REFERENCE}
    assert catalog["datasets"]["imagenet_train"]["root"] == catalog["datasets"]["imagenet_val"]["root"]
    assert catalog["datasets"]["imagenet_train"]["split"] == "train"


@pytest.mark.parametrize("name", REFERENCE)
def test_recipes_have_the_authors_settings(catalog, name):
    entry, published = catalog["models"][f"{name}_dcls_finetuned"], catalog["models"][f"{name}_dcls"]
    assert entry["weights"] == {"model": name}
    assert catalog["models"][name]["weights"]["timm"] is True
    assert entry["arch"] == catalog["models"][name]["arch"]
    assert entry["variant"]["dcls"] == published["variant"]["dcls"] | {"init": "preserve"}
    recipe = entry["train"]
    assert recipe["dataset"] == "imagenet_train"
    assert (recipe["optimizer"], recipe["weight_decay"], recipe["ema_decay"]) == ("adamw", 0.05, 0.9999)
    assert recipe["positions"] == {"learning_rate_factor": 5, "repulsive_loss": True, "repulsive_from_epoch": 21}
    assert recipe["epochs"] > 21, "or there would be no repulsive loss"
    assert recipe["precision"] == "bfloat16"
    # Below the rate of training from scratch: 0.004 for 4096 images, in proportion.
    assert recipe["learning_rate"] < 0.004 * recipe["batch_size"] / 4096
    assert recipe["batch_size"] / recipe["accumulate"] == (64 if name == "convnext_base" else 128)


@pytest.mark.parametrize("name", REFERENCE)
def test_networks_are_those_of_the_study(catalog, name):
    _, _, layers, positions, *_ = REFERENCE[name]
    with torch.device("meta"):
        model = build_model(catalog["models"][f"{name}_dcls_finetuned"])
    assert len(list(dcls_layers(model))) == layers
    assert len(position_parameters(model)) == positions


# In miniature


def jpeg(label, number):
    """A picture whose bright channel is its class."""
    rng, buffer = np.random.default_rng([label, number]), io.BytesIO()
    pixels = rng.integers(0, 100, (*SIZES[number % len(SIZES)], 3), np.uint8)
    pixels[..., label] += 120
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Thirty-nine JPEGs in ImageNet's folders, prepared."""
    root = tmp_path_factory.mktemp("imagenet")
    for label, wnid in enumerate(WNIDS):
        (root / "train" / wnid).mkdir(parents=True)
        for number in range(EACH):
            (root / "train" / wnid / f"{wnid}_{number}.JPEG").write_bytes(jpeg(label, number))
    files, photographs, _ = read_imagenet(root, num_classes=3, split="train")
    manifest = root / "imagenet_train.json"
    attrs = dict.fromkeys(ATTRIBUTES)
    write_photographs(manifest, files, photographs, attrs=attrs, identity="f", chunk=8)
    return manifest


@pytest.fixture(scope="module")
def entry(catalog):
    """The catalogue's entry with a narrow network of three classes, small images, and a short recipe."""
    entry = catalog["models"]["convnext_tiny_dcls_finetuned"]
    recipe = entry["train"] | {"epochs": 2, "batch_size": 8, "accumulate": 2, "warmup_epochs": 0.5, "seed": 0}
    recipe["positions"] = recipe["positions"] | {"repulsive_from_epoch": 1}
    small = {"kwargs": NARROW["convnext_tiny"], "num_classes": 3, "input": {"size": 32, "crop_pct": 1.0}}
    return entry | small | {"train": recipe}


@pytest.fixture(scope="module")
def weights(entry, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "start.safetensors"
    save_model(randomised(build_model(entry, variants=False)), path)
    return path


def finetune(entry, weights, dataset, checkpoint):
    job = {"threads": 1, "fingerprint": "f", "device": torch.device("cpu")}
    return train_entry(entry, weights=str(weights), dataset=str(dataset), checkpoint=str(checkpoint), **job)


def test_a_killed_run_of_the_recipe_in_miniature_goes_on(entry, weights, dataset, tmp_path, monkeypatch):
    recipe = entry["train"]
    assert (recipe["ema_decay"], recipe["precision"], recipe["accumulate"]) == (0.9999, "bfloat16", 2)
    undisturbed, history = finetune(entry, weights, dataset, tmp_path / "undisturbed.pt")
    assert len(history) == 2
    assert all(0 < record["loss"] < 10 for record in history)

    class Killed(run.TrainingLoader):
        def epoch(self, number):
            # Between the two passes of the second step.
            for count, batch in enumerate(super().epoch(number)):
                if number == 1 and count == 3:
                    raise KeyboardInterrupt
                yield batch

    with monkeypatch.context() as patch:
        patch.setattr(run, "TrainingLoader", Killed)
        with pytest.raises(KeyboardInterrupt):
            finetune(entry, weights, dataset, tmp_path / "killed.pt")
    assert len(torch.load(tmp_path / "killed.pt", weights_only=True)["history"]) == 1
    resumed, resumed_history = finetune(entry, weights, dataset, tmp_path / "killed.pt")
    for key in ("epoch", "learning_rate", "loss", "accuracy"):
        assert [record[key] for record in resumed_history] == [record[key] for record in history]
    assert all(torch.equal(tensor, undisturbed.state_dict()[name]) for name, tensor in resumed.state_dict().items())


def test_the_miniature_moves_weights_and_positions_and_averages_them(entry, weights, dataset, tmp_path):
    """The average is of nine steps with decay 0.9999: near the weights after the first step, not after the last."""
    average, _ = finetune(entry, weights, dataset, tmp_path / "c.pt")
    last = torch.load(tmp_path / "c.pt", weights_only=True)["model"]
    start = run.initial_model(entry, str(weights), 0).state_dict()
    moved = {name: (last[name] - start[name]).abs().max().item() for name in start}
    steps, rate = 2 * (len(open_dataset(dataset).labels) // 8), entry["train"]["learning_rate"]
    assert all(0 < moved[name] <= 1.01 * steps * rate for name in moved if name.endswith("conv_dw.weight"))
    # Five times as fast, Adam's steps being about as long as the learning rate.
    positions = [moved[name] for name in moved if name.endswith(".P")]
    assert len(positions) == 5
    assert all(steps * rate < distance <= 5.05 * steps * rate for distance in positions)
    for name, tensor in average.state_dict().items():
        assert (tensor - start[name]).abs().max() <= (0 if moved[name] == 0 else max(0.2 * moved[name], 1e-7)), name


def test_the_miniature_learns(entry, weights, dataset, tmp_path):
    """With a rate fit for a network this small, that the images are rightly labelled shows."""
    faster = entry | {"train": entry["train"] | {"learning_rate": 0.01, "epochs": 8}}
    _, history = finetune(faster, weights, dataset, tmp_path / "c.pt")
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert history[-1]["accuracy"] > 0.8
