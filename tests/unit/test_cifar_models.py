"""The networks for 32x32 pixels: how they begin, what their stages see, and the sizes that their papers state."""

import pytest
import torch
from conftest import ROOT
from torch import nn

from camstudy.explain.layers import stage_paths
from camstudy.models import cifar
from camstudy.models.build import build_model, input_config, parameter_count
from camstudy.study.catalog import with_catalogs


@pytest.fixture(scope="module")
def models():
    return with_catalogs({}, ROOT)["catalog"]["models"]


def sides(model, paths):
    """Return the side of each module's output for an image of 32x32."""
    found = {}
    for path in paths:
        model.get_submodule(path).register_forward_hook(
            lambda _module, _inputs, output, path=path: found.update({path: output.shape[-1]})
        )
    model.eval()(torch.zeros(1, 3, 32, 32))
    return [found[path] for path in paths]


def test_the_resnet_keeps_the_resolution_at_first(models):
    model = build_model(models["resnet18_cifar100"], seed=0)
    assert sides(model, stage_paths(model)) == [32, 16, 8, 4]
    # As 7x7 becomes 3x3, and 1000 classes 100, torchvision's 11,689,512 parameters become:
    assert parameter_count(model) == 11_689_512 - 3 * 64 * (49 - 9) - 900 * 513
    spread = model.conv1.weight.std().item()
    assert spread == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mobilenet_v2_cifar100", [16, 8, 4, 2, 1]), ("mobilenet_v2_cifar100_stride1", [32, 16, 8, 4, 2])],
)
def test_the_mobilenet_ends_small(models, name, expected):
    model = build_model(models[name], seed=0)
    assert sides(model, stage_paths(model)) == expected
    assert parameter_count(model) == 3_504_872 - 900 * 1281
    assert any(isinstance(module, nn.ReLU6) for module in model.modules())


def test_another_stride_is_refused():
    with pytest.raises(ValueError, match="expected 1 or 2"):
        cifar.mobilenet_v2(stem_stride=4)


def test_entries_state_their_size_and_the_recipe(models):
    own = {name: entry for name, entry in models.items() if "cifar100" in name}
    assert own.keys() >= {"resnet18_cifar100", "mobilenet_v2_cifar100"}
    for entry in own.values():
        assert input_config(entry)["size"] == 32
        assert entry["train"]["augment"] == {"padding": 4, "flip": 0.5, "rotation": 15}
        assert entry["train"]["drops"] == {"epochs": [60, 120, 160], "factor": 0.2}
