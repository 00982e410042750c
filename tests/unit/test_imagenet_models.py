"""The full-size models of the DCLS study: each is built and compared with what the study's reference says of it."""

from contextlib import nullcontext
from functools import cache

import pytest
import torch
import yaml
from conftest import ROOT
from torch import nn

from camstudy.explain.layers import check_output, resolve_target_layer
from camstudy.models.build import build_model, input_config, parameter_count
from camstudy.models.cost import multiply_adds
from camstudy.models.variants.dcls import dcls_layers
from camstudy.study.checks import validate

# Measured on timm 1.0.31 and DCLS 0.1.1 with the authors' replacement rules (reference of the study): parameters in
# millions without and with DCLS; layers and distinct position tensors; what enters global pooling.
REFERENCE = {
    "resnet50": (25.557, 24.009, 16, 4, "layer4", (2048, 7, 7)),
    "convnext_tiny": (28.589, 28.588, 18, 4, "stages.3", (768, 7, 7)),
    "convnext_small": (50.224, 50.217, 36, 4, "stages.3", (768, 7, 7)),
    "convnext_base": (88.591, 88.583, 36, 4, "stages.3", (1024, 7, 7)),
    "caformer_s18": (26.342, 26.350, 6, 2, "stages.3", (512, 7, 7)),
    "convformer_s18": (26.774, 26.848, 18, 4, "stages.3", (512, 7, 7)),
    "fastvit_sa24": (21.554, 21.523, 25, 4, "final_conv", (1024, 8, 8)),
    "fastvit_sa36": (31.527, 31.453, 37, 4, "final_conv", (1024, 8, 8)),
}
# Input size, crop_pct, DCLS version, size and count, state key, record at Zenodo
PUBLISHED = {
    "resnet50": (224, 0.95, "v0", 7, 5, "state_dict_ema", 8373830),
    "convnext_tiny": (224, 0.875, "v0", 17, 34, "model", 7112021),
    "convnext_small": (224, 0.875, "v0", 17, 40, "model", 7112021),
    "convnext_base": (224, 0.875, "v0", 17, 40, "model", 7112021),
    "caformer_s18": (224, 1.0, "v1", 17, 34, "state_dict_ema", 8370737),
    "convformer_s18": (224, 1.0, "v1", 17, 40, "state_dict_ema", 8370737),
    "fastvit_sa24": (256, 0.9, "v1", 17, 34, "state_dict_ema", 8370737),
    "fastvit_sa36": (256, 0.9, "v1", 17, 34, "state_dict_ema", 8370737),
}
# Multiply-adds in G of the baseline, of the DCLS variant with dense kernels, and with its taps only.
MULTIPLY_ADDS = {
    "resnet50": ("4.089", "12.310", "3.267"),
    "convnext_tiny": ("4.456", "4.970", "4.423"),
    "convnext_small": ("8.684", "9.524", "8.652"),
    "convnext_base": ("15.355", "16.475", "15.313"),
    "caformer_s18": ("3.878", "4.312", "3.851"),
    "convformer_s18": ("3.941", "4.682", "3.913"),
    "fastvit_sa24": ("3.753", "4.359", "3.715"),
    "fastvit_sa36": ("5.571", "6.475", "5.514"),
}
VARIANTS = ["", "_dcls"]


@pytest.fixture(scope="module")
def catalog():
    models = yaml.safe_load((ROOT / "config/catalog/imagenet_models.yaml").read_text())["catalog"]["models"]
    study = {
        "study": "s",
        "dataset": "d",
        "models": list(models),
        "methods": ["m"],
        "catalog": {
            "datasets": {"d": {"source": "digits", "split": "val"}},
            "models": models,
            "methods": {"m": {"method": "gradcam"}},
            "protocols": yaml.safe_load((ROOT / "config/catalog/protocols.yaml").read_text())["catalog"]["protocols"],
        },
    }
    return validate(study)["catalog"]["models"]


@pytest.fixture(scope="module")
def build(catalog):
    """Build a model once, without memory for its weights; positions are shared as ever."""

    @cache
    def built(name) -> nn.Module:
        with torch.device("meta"):
            return build_model(catalog[name]).eval()

    return built


def test_the_catalogue_has_these_models_and_no_others(catalog):
    dcls = [f"{name}{variant}" for name in REFERENCE for variant in VARIANTS]
    torchvision = ["resnet50_tv", "resnet18_tv", "convnext_small_tv", "convnext_base_tv", "vgg16_bn", "vgg16"]
    assert list(catalog) == [*dcls, *torchvision]


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("variant", VARIANTS)
def test_parameters_and_layers(build, name, variant):
    base, with_dcls, layers, positions, *_ = REFERENCE[name]
    model = build(name + variant)
    assert f"{parameter_count(model) / 1e6:.3f}" == f"{with_dcls if variant else base:.3f}"
    converted = list(dcls_layers(model))
    assert len(converted) == (layers if variant else 0)
    assert len({id(layer.P) for layer in converted}) == (positions if variant else 0)
    assert model.num_classes == 1000


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_explained_layer_is_what_enters_global_pooling(catalog, build, name, variant, monkeypatch):
    # Tensors without memory have no mixed precision that could be switched off.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    *_, path, shape = REFERENCE[name]
    entry, model = catalog[name + variant], build(name + variant)
    size = input_config(entry)["size"]
    layer = resolve_target_layer(model, entry["target_layer"], size=size)
    assert layer.path == path
    seen = {}
    layer.module.register_forward_hook(lambda _, __, output: seen.update(output=output))
    pooled = next(m for n, m in model.named_modules() if n in ("global_pool", "head.global_pool"))
    pooled.register_forward_hook(lambda _, inputs, __: seen.update(pooled=inputs[0]))
    with torch.no_grad():
        assert model(torch.zeros(1, 3, size, size, device="meta")).shape == (1, 1000)
    assert seen["output"].shape == (1, *shape)
    assert seen["pooled"] is seen["output"]
    assert check_output(seen["output"], layer, 1) == "nchw"


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("variant", VARIANTS)
def test_multiply_adds(catalog, build, name, variant, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    found = multiply_adds(build(name + variant), input_config(catalog[name + variant])["size"])
    base, dense, taps = MULTIPLY_ADDS[name]
    expected = (dense, taps) if variant else (base, base)
    assert (f"{found.dense / 1e9:.3f}", f"{found.taps / 1e9:.3f}") == expected


@pytest.mark.parametrize("name", REFERENCE)
def test_every_model_has_four_stages(build, name, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())
    *_, (_, _, last) = REFERENCE[name]
    model, seen = build(f"{name}_dcls"), {}
    layers = {stage: resolve_target_layer(model, stage=stage) for stage in range(1, 5)}
    for stage, layer in layers.items():
        layer.module.register_forward_hook(lambda _, __, output, stage=stage: seen.update({stage: output}))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32 * last, 32 * last, device="meta"))
    for stage, layer in layers.items():
        assert check_output(seen[stage], layer, 1) == "nchw"
        assert seen[stage].shape[2:] == (last << (4 - stage),) * 2


@pytest.mark.parametrize("name", REFERENCE)
def test_inputs_and_variants_are_those_published(catalog, name):
    size, crop_pct, version, kernel_size, kernel_count, key, record = PUBLISHED[name]
    baseline, variant = catalog[name], catalog[f"{name}_dcls"]
    assert variant["arch"] == baseline["arch"]
    for entry in (baseline, variant):
        inputs = input_config(entry)
        assert (inputs["size"], inputs["crop_pct"], inputs["interpolation"]) == (size, crop_pct, "bicubic")
        assert (inputs["mean"], inputs["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert baseline["arch"].rpartition(".")[2] in ("a1_in1k", "fb_in1k", "sail_in1k", "apple_in1k")
    dcls = variant["variant"]["dcls"]
    assert (dcls["version"], dcls["kernel_size"], dcls["kernel_count"]) == (version, kernel_size, kernel_count)
    weights = variant["weights"]
    assert weights["url"].startswith(f"https://zenodo.org/records/{record}/files/")
    assert (weights["key"], weights["include_variant"]) == (key, True)
    assert baseline["weights"]["timm"] is True
    assert baseline["variant"] == {}
