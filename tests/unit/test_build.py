"""Models of catalogue entries: names, import paths, arguments, variants, input configuration, seeds."""

from types import SimpleNamespace

import pytest
import timm
import torch
from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.models import build
from camstudy.models.variants.dcls import dcls_layers

torch.set_num_threads(1)

MINI = {
    "arch": "timm.models.resnet.ResNet",
    "kwargs": {
        "block": "import:timm.models.resnet.BasicBlock",
        "layers": [1, 1, 1, 1],
        "channels": [8, 16, 24, 32],
    },
    "num_classes": 7,
}
DCLS = {"replace": "conv3x3", "kernel_size": 5, "kernel_count": 4, "version": "v1", "init": "random"}


# ---- construction


def test_timm_name_builds_timms_model():
    model = build.build_model({"arch": "test_resnet.r160_in1k", "num_classes": 4})
    assert model.pretrained_cfg["tag"] == "r160_in1k"
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 4)
    reference = timm.create_model("test_resnet", num_classes=4)
    assert {n: p.shape for n, p in model.named_parameters()} == {n: p.shape for n, p in reference.named_parameters()}


def test_import_path_with_imported_arguments():
    model = build.build_model(MINI).eval()
    assert type(model) is ResNet
    assert isinstance(model.layer2[0], BasicBlock)
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_imports_within_lists():
    kwargs = {
        "depths": [1, 1],
        "dims": [8, 16],
        "token_mixers": ["import:timm.models.metaformer.SepConv", "import:timm.models.metaformer.Attention"],
    }
    model = build.build_model({"arch": "timm.models.metaformer.MetaFormer", "kwargs": kwargs, "num_classes": 3})
    mixers = [type(stage.blocks[0].token_mixer).__name__ for stage in model.stages]
    assert mixers == ["SepConv", "Attention"]


def test_without_num_classes_the_architecture_decides():
    assert build.build_model({"arch": "test_resnet.r160_in1k"}).num_classes == 1000


def test_seed_decides_the_weights_and_leaves_the_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    entry = MINI | {"variant": {"dcls": DCLS}}
    first, again, other = (build.build_model(entry, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for name in ("conv1.weight", "layer1.0.conv1.weight", "layer1.0.conv1.P"):
        assert not torch.equal(first[name], other[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "resnet5O"}, "unknown timm model `resnet5O`, did you mean `resnet50`"),
        ({"arch": "qqqqqq"}, "unknown timm model `qqqqqq`$"),
        ({"arch": "resnet50.a1_in1"}, "weights tag `resnet50.a1_in1`, did you mean `resnet50.a1_in1k`"),
        ({"arch": "resnet5O.a1_in1k"}, "`resnet5O.a1_in1k` cannot be imported .*or the timm name `resnet50`"),
        ({"arch": "no_such_package.Net"}, "arch: `no_such_package.Net` cannot be imported"),
        ({"arch": "timm.models.resnet.Resnet"}, "did you mean `timm.models.resnet.ResNet`"),
        ({"arch": "builtins.dict"}, "arch: `builtins.dict` returned a dict"),
        ({"kwargs": {"blocks": 1, "layers": [1]}}, "argument of .* `blocks`, did you mean `block`"),
        ({"kwargs": {"zzz": 1}}, r"kwargs: `timm.models.resnet.ResNet` refuses .*zzz.* mend `kwargs`"),
        ({"kwargs": {"block": "import:timm.models.resnet.BasicBlok"}}, "did you mean .*BasicBlock`"),
        ({"kwargs": {"block": "import:timmm.Block"}}, "kwargs: `timmm.Block` cannot be imported"),
        ({"arch": "test_resnet", "kwargs": {"layer": [1]}}, "kwargs: `test_resnet` refuses .*'layer'"),
        (
            {"kwargs": {"pretrained": True}},
            r"kwargs\.pretrained: .* would fetch weights whenever it is built, .*remove it",
        ),
        *(
            (
                {"arch": "torchvision.models.resnet18", "kwargs": {"weights": weights}},
                r"kwargs\.weights: .* would fetch weights whenever it is built.* in the study: `weights: {timm",
            )
            for weights in ("DEFAULT", "import:torchvision.models.ResNet18_Weights.DEFAULT")
        ),
    ],
)
def test_mistakes_are_named(changes, message):
    with pytest.raises(CamstudyError, match=message):
        build.build_model(MINI | changes)


# ---- variants


def test_variants_change_the_network_and_can_be_left_out():
    entry = MINI | {"variant": {"dcls": DCLS}}
    assert len(list(dcls_layers(build.build_model(entry)))) == 8
    assert not any(dcls_layers(build.build_model(entry, variants=False)))


def test_variants_are_applied_in_order(monkeypatch):
    calls = []

    def record(name):
        def function(model, *, seed, width=1):
            calls.append((name, seed, width))
            return nn.Sequential(model)

        return SimpleNamespace(function=function)

    monkeypatch.setattr(build, "VARIANTS", {"second": record("second"), "first": record("first")})
    model = build.apply_variants(nn.Identity(), {"variant": {"first": {"width": 3}, "second": None}}, seed=9)
    assert calls == [("first", 9, 3), ("second", 9, 1)]
    assert isinstance(model[0][0], nn.Identity)


def test_variant_starts_from_the_weights_the_model_has():
    entry = MINI | {"variant": {"dcls": DCLS | {"version": "v0", "kernel_count": 9, "init": "preserve"}}}
    model = build.build_model(entry, variants=False).eval()
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(images)
        torch.testing.assert_close(build.apply_variants(model, entry)(images), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ({"dlcs": DCLS}, "unknown variant `dlcs`, did you mean `dcls`"),
        ({"dcls": DCLS | {"kernel_cuont": 3}}, "variant `dcls` `kernel_cuont`, did you mean `kernel_count`"),
        ({"dcls": {"replace": "conv3x3"}}, "variant.dcls: missing a required .*`?kernel_size"),
    ],
)
def test_mistakes_in_variants_are_named(variant, message):
    with pytest.raises(CamstudyError, match=message):
        build.build_model(MINI | {"variant": variant})


# ---- input configuration

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize(
    ("arch", "size", "crop_pct"),
    [
        ("convnext_tiny.fb_in1k", 224, 0.875),
        ("caformer_s18.sail_in1k", 224, 1.0),
        ("fastvit_sa24.apple_in1k", 256, 0.9),
        ("resnet50.a1_in1k", 224, 0.95),
        ("timm.models.resnet.ResNet", 224, 0.875),
    ],
)
def test_input_configuration_of_published_models(arch, size, crop_pct):
    expected = {"size": size, "crop_pct": crop_pct, "crop_mode": "center", "interpolation": "bicubic", **IMAGENET}
    assert build.input_config({"arch": arch}) == expected


def test_entry_overrides_timm_key_by_key():
    given = {"size": 112, "interpolation": "bilinear", "mean": (0.5, 0.5, 0.5)}
    config = build.input_config({"arch": "resnet50.a1_in1k", "input": given})
    assert config == {
        "size": 112,
        "crop_pct": 0.95,
        "crop_mode": "center",
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": IMAGENET["std"],
    }


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"arch": "resnet50", "input": {"sizes": 3}}, "unknown key of `input` `sizes`, did you mean `size`"),
        ({"arch": "resnet50", "input": {"interpolation": "bilinaer"}}, "did you mean `bilinear`"),
        ({"arch": "resnet5O"}, "did you mean `resnet50`"),
    ],
)
def test_mistakes_in_input_are_named(entry, message):
    with pytest.raises(CamstudyError, match=message):
        build.input_config(entry)


def test_input_that_is_not_square_needs_a_size(monkeypatch):
    monkeypatch.setattr(build, "resolve_data_config", lambda **_: IMAGENET | {"input_size": (3, 224, 160)})
    with pytest.raises(CamstudyError, match=r"input.size: `resnet50` takes 224x160 images"):
        build.input_config({"arch": "resnet50"})


# ---- counting


def test_shared_parameters_count_once():
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    second.weight = first.weight
    assert build.parameter_count(nn.Sequential(first, second)) == 6 + 2 + 2
