"""Multiply-adds against torch's own counter and by hand; test_imagenet_models has the DCLS study's table."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from camstudy.models.cost import MultiplyAdds, multiply_adds
from camstudy.models.variants.dcls import convert


class Several(nn.Module):
    """Convolutions of all kinds, a layer that runs twice, linear layers over positions, and norms."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, stride=2)
        self.twice = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4, bias=False)
        self.wide = nn.Conv2d(8, 12, (1, 7))
        self.mix, self.norm, self.head = nn.Linear(12, 12), nn.LayerNorm(12), nn.Linear(12, 5)

    def forward(self, images):
        x = self.wide(self.twice(self.twice(self.stem(images)).relu()))
        x = self.norm(self.mix(x.permute(0, 2, 3, 1)))
        return self.head(x.mean((1, 2)))


def test_it_counts_what_torch_counts_and_leaves_the_model():
    model = Several().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 40, 40))
    # torch counts a multiplication and an addition as two.
    assert multiply_adds(model, 40) == MultiplyAdds(counter.get_total_flops() // 2, counter.get_total_flops() // 2)
    assert not any(module._forward_hooks for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_dcls_layers_count_as_dense_kernels_and_as_taps():
    layer = nn.Sequential(nn.Conv2d(3, 3, 7, padding=3, groups=3))
    settings = {"kernel_size": 17, "kernel_count": 34, "version": "v1", "init": "random"}
    model = convert(layer, replace="depthwise", **settings).eval()
    pixels = 56 * 56
    assert multiply_adds(model, 56) == MultiplyAdds(3 * pixels * 17 * 17, 3 * pixels * 34)
