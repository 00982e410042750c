"""The CA-Stream study's entries: networks of the published sizes, the paper's recipe, the layers that are explained."""

from contextlib import nullcontext

import pytest
import torch
import yaml
from conftest import ROOT

from camstudy.explain.layers import check_output, resolve_target_layer
from camstudy.models.build import build_model, input_config, parameter_count
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate

STUDIES = ("castream", "castream_ablations")
# Exact totals, and as they are published in millions, with biases.
TOTALS = {
    "resnet18_gap": (11_689_512, "11.69"),
    "resnet18_ca": (12_129_320, "12.13"),
    "resnet50_gap": (25_557_032, "25.56"),
    "resnet50_ca": (32_526_184, "32.53"),
    "convnext_small_gap": (50_223_688, "50.22"),
    "convnext_small_ca": (51_202_792, "51.20"),
    "convnext_base_gap": (88_591_464, "88.59"),
    "convnext_base_ca": (90_331_112, "90.33"),
    "resnet50_projca": (25_557_032 + 18_126_272, None),
    "resnet50_ca_s1": (25_557_032 + 6_952_704, None),
    "resnet50_ca_s2": (25_557_032 + 6_821_376, None),
    "resnet50_ca_s3": (25_557_032 + 6_296_576, None),
    "resnet50_ca_s4": (25_557_032 + 4_198_400, None),
    "resnet50_ca_class_specific": (32_590_120, "32.59"),
}


@pytest.fixture(scope="module")
def studies():
    read = (yaml.safe_load((ROOT / f"config/studies/{name}.yaml").read_text()) for name in STUDIES)
    return [validate(with_catalogs(study, ROOT), check_files=False) for study in read]


@pytest.fixture(scope="module")
def models(studies):
    return studies[0]["catalog"]["models"]


def test_all_entries_are_in_a_study(studies):
    assert {name for study in studies for name in study["models"]} == TOTALS.keys()
    assert {name: study["dataset"] for name, study in zip(STUDIES, studies, strict=True)} == dict.fromkeys(
        STUDIES, "imagenet_val"
    )


@pytest.mark.parametrize("name", TOTALS)
def test_networks_have_the_published_sizes_and_layers(models, name):
    entry, (total, published) = models[name], TOTALS[name]
    # The head of a class-specific stream is checked with numbers, which `meta` has none of.
    with nullcontext() if "class" in name else torch.device("meta"):
        model = build_model(entry).eval()
        assert parameter_count(model) == total
        if published:
            assert f"{total / 1e6:.2f}" == published
        layer = resolve_target_layer(model, entry["target_layer"])
        outputs = []
        layer.module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
        with torch.no_grad():
            model(torch.zeros(1, 3, 224, 224))
    layout = check_output(outputs[0], layer, 1)
    assert layout == ("nhwc" if "convnext" in name else "nchw")
    assert outputs[0].shape[1:3].numel() == 49 if layout == "nhwc" else outputs[0].shape[2:].numel() == 49


@pytest.mark.parametrize("name", [name for name in TOTALS if not name.endswith("gap")])
def test_recipes_are_the_papers(models, name):
    entry = models[name]
    baseline = models[f"{name.partition('_ca')[0].removesuffix('_projca')}_gap"]
    for key in ("arch", "input", "weights", "target_layer"):
        assert entry[key] == baseline[key]
    assert baseline["train"] is None
    recipe = entry["train"]
    assert (recipe["optimizer"], recipe["momentum"], recipe["nesterov"]) == ("sgd", 0.9, False)
    assert (recipe["epochs"], recipe["batch_size"], recipe["learning_rate"]) == (90, 256, 0.1)
    assert recipe["drops"] == {"epochs": 30, "factor": 0.1}
    assert (recipe["weight_decay"], recipe["decay_all"]) == (0.0001, True)
    assert (recipe["label_smoothing"], recipe["warmup_epochs"], recipe["ema_decay"]) == (0, 0, None)
    assert (recipe["trainable"], recipe["select"]) == (["stream"], "last")
    assert recipe["hold_out"] == pytest.approx(1 / 6, abs=1e-4)
    drawn = {"scale": [0.08, 1.0], "flip": 0.5, "color_jitter": 0, "erase": 0, "padding": None, "rotation": 0}
    assert recipe["augment"] == drawn
    assert recipe["dataset"] == "imagenet_train"


@pytest.mark.parametrize(("name", "resized"), [("convnext_small_tv", 230), ("convnext_base_tv", 232)])
def test_inputs_of_torchvisions_weights(models, name, resized):
    """As torchvision's own transforms of its first weights."""
    config = input_config(models[name])
    assert int(config["size"] / config["crop_pct"]) == resized
    assert (config["size"], config["interpolation"], config["crop_mode"]) == (224, "bilinear", "center")
