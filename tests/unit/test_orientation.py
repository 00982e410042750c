"""Positions that are told from rearranged ones: transposed, mirrored, in windows, or without any order."""

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.orientation import check_orientation

torch.set_num_threads(1)
SIDE = 6


class Arranged(nn.Module):
    """Patches of an image, mixed a little, whose order a function of the grid (n, C, h, w) changes."""

    def __init__(self, arrange, layout: str) -> None:
        super().__init__()
        self.patches, self.mix = nn.Conv2d(3, 5, 4, 4), nn.Conv2d(5, 5, 3, 1, 1)
        self.layer, self.fc = nn.Identity(), nn.Linear(5, 2)
        self.arrange, self.layout = arrange, layout

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x)
        x = self.arrange(x + 0.1 * self.mix(x))
        if self.layout == "tokens":
            x = torch.cat([x.mean((2, 3))[:, None], x.flatten(2).mT], 1)
            return self.fc(self.layer(x).mean(1))
        x = x.permute(0, 2, 3, 1) if self.layout == "nhwc" else x
        return self.fc(self.layer(x).mean((2, 3) if self.layout == "nchw" else (1, 2)))


def windows(x: Tensor) -> Tensor:
    """Return the positions window by window of 2x2."""
    n, c = x.shape[:2]
    return x.reshape(n, c, 3, 2, 3, 2).transpose(3, 4).reshape(n, c, SIDE, SIDE)


def check(model: nn.Module, layer=None, size: int = 4 * SIDE) -> None:
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    check_orientation(model, [resolve_target_layer(model, layer, size=size)], images)


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "tokens"])
@pytest.mark.parametrize(
    ("arrange", "valid"),
    [
        (lambda x: x, True),
        (lambda x: x.mT, False),
        (lambda x: x.flip(2), False),
        (lambda x: x.flip(3), False),
        (lambda x: x.flip(2, 3), False),
        (lambda x: x[:, :, :1, :1].expand_as(x), False),
    ],
    ids=["as it is", "transposed", "upside down", "mirrored", "turned", "one position"],
)
def test_orders_are_told(layout, arrange, valid):
    torch.manual_seed(0)
    model = Arranged(arrange, layout).eval()
    if valid:
        check(model, "layer")
        return
    with pytest.raises(CamstudyError, match=r"target_layer `layer`: .*(would be scrambled|cannot be told)"):
        check(model, "layer")


def test_rectified_class_maps_are_looked_at_before_they_are_rectified():
    """As of SqueezeNet for two classes: of random weights, none of the maps may be positive anywhere."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 2, 1), nn.ReLU(inplace=True))
    nn.init.constant_(model[2].bias, -100)
    assert not model(torch.randn(2, 3, 32, 32)).any()
    check(model, "3", size=32)
    turned = nn.Sequential(*model[:2], _Turned(), *model[2:])
    with pytest.raises(CamstudyError, match=r"`4`: its 16x16 positions are not in the order"):
        check(turned, "4", size=32)


class _Turned(nn.Module):
    def forward(self, x):
        return x.transpose(2, 3)


def test_windows_of_tokens_are_refused():
    torch.manual_seed(0)
    with pytest.raises(
        CamstudyError, match=r"`layer`: its 6x6 positions.*\(0, 5\) looks at \(0, 3\), \(5, 0\) looks at \(5, 2\)"
    ):
        check(Arranged(windows, "tokens").eval(), "layer")


def test_an_order_that_nothing_tells_may_be_stated():
    model = Arranged(lambda x: x.mean((2, 3), keepdim=True).expand_as(x), "tokens").eval()
    with pytest.raises(CamstudyError, match=r"cannot be told; .*`target_layer: {path: layer, layout: \.\.\.}`"):
        check(model, "layer")
    check(model, {"path": "layer", "layout": "tokens"})


def test_the_network_is_left_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 4, 4), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    model[1].momentum = None
    model.train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    check(model, "1")
    with pytest.raises(CamstudyError, match="not all of its positions depend on the image"):
        check(nn.Sequential(Blind(), *model), "2")
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert model[1].momentum is None
    assert all(module.training and not module._forward_hooks for module in model.modules())


class Blind(nn.Module):
    """A step that looks at the middle of the image alone."""

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.zeros_like(x)
        seen[..., 8:16, 8:16] = 1
        return x * seen


def hiera() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "hiera_tiny_224", img_size=(64, 64), stages=(1, 1, 1, 1), embed_dim=8, num_classes=2
    ).eval()


def test_hiera_is_explained_where_windows_are_single_tokens():
    model = hiera()
    assert resolve_target_layer(model, size=64).path == "blocks.3"
    check(model, size=64)
    for path in ("blocks.0", "blocks.2.norm1", "blocks.3.norm1", "unroll"):
        with pytest.raises(CamstudyError, match=rf"`{path}`: the tokens of Hiera are ordered by windows.*`blocks\.3`"):
            resolve_target_layer(model, path, size=64)


def test_what_hiera_is_refused_for_would_be_scrambled():
    """The refusal by name is right: the order of rows that its first blocks would be read in is not theirs."""
    from camstudy.explain.layers import TargetLayer

    model = hiera()
    images = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32))
    for path in ("blocks.0", "blocks.1"):
        with pytest.raises(CamstudyError, match="would be scrambled"):
            check_orientation(model, [TargetLayer(path, model.get_submodule(path))], images)


@pytest.mark.parametrize("seed", range(2))
def test_few_positions_of_convolutions_may_all_see_the_whole_image(seed):
    torch.manual_seed(seed)
    check(timm.create_model("mnasnet_small").eval(), size=64)
