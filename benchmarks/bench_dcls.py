"""DCLS at inference: unfolded against folded layers, and dense kernels as the dcls package and as we build them."""

from collections.abc import Iterator
from typing import NamedTuple

import timm
import torch
from DCLS.construct.modules import ConstructKernel2d, Dcls2d
from torch import nn

from benchmarks.table import Row
from benchmarks.timing import device, interleave, one_thread, versus
from camstudy.models.variants.dcls import convert, dcls_layers, fold

CONVNEXT = {"replace": "depthwise", "kernel_size": 17, "kernel_count": 34, "version": "v0", "init": "random"}
RESNET = {"replace": "conv3x3", "kernel_size": 7, "kernel_count": 5, "version": "v0", "init": "random"}


class Size(NamedTuple):
    """``channels``: of the layer of ResNet50, whose last stage has 512; dense kernels take few ``rounds``."""

    convnext: str
    pixels: int
    channels: int
    repeats: int
    rounds: int


FULL = Size(convnext="convnext_tiny", pixels=224, channels=512, repeats=5, rounds=3)
SMALL = Size(convnext="convnext_atto", pixels=64, channels=32, repeats=1, rounds=1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield rows for a whole ConvNeXt, for a 3x3 layer of ResNet50's last stage, and for the kernels of both."""
    size = SMALL if small else FULL
    torch.manual_seed(0)
    convnext = convert(timm.create_model(size.convnext, pretrained=False), **CONVNEXT)
    channels, pixels = size.channels, size.pixels
    resnet = convert(nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False)), **RESNET)
    last = list(dcls_layers(convnext))[-1]
    with one_thread():
        yield _unfolded(f"{size.convnext} 17/34", convnext, (1, 3, pixels, pixels), size.repeats)
        yield _unfolded(f"layer {channels} of resnet50 7/5", resnet, (1, channels, 7, 7), size.repeats)
        yield _kernels(f"depthwise {last.out_channels}, 17/34", last, size.rounds)
        yield _kernels(f"dense {channels}x{channels}, 7/5", next(dcls_layers(resnet)), size.rounds)


def _unfolded(name: str, model: nn.Module, shape: tuple[int, ...], repeats: int) -> Row:
    on = device()
    model = model.eval().to(on)
    folded, images = fold(model), torch.randn(shape, device=on)
    with torch.inference_mode():
        difference = (model(images) - folded(images)).abs().max().item()
        times = interleave({"unfolded": lambda: model(images), "folded": lambda: folded(images)}, repeats, on)
    detail = f"one image, differing by {difference:.0e}"
    return versus(f"DCLS unfolded / folded, {name}", times, "unfolded", "folded", ">= 1", detail)


def _kernels(name: str, layer: Dcls2d, repeats: int) -> Row:
    on = device()
    layer = layer.to(on)
    size = (layer.out_channels, layer.in_channels, layer.groups, layer.kernel_count, layer.dilated_kernel_size)
    package = ConstructKernel2d(*size, layer.version).to(on)
    parts = (layer.weight, layer.P, layer.SIG)
    with torch.inference_mode():
        difference = (package(*parts) - layer.DCK(*parts)).abs().max().item()
        times = interleave({"package": lambda: package(*parts), "ours": lambda: layer.DCK(*parts)}, repeats, on)
    detail = f"differing by {difference:.0e}"
    return versus(f"dcls package / our kernels, {name}", times, "package", "ours", ">= 1", detail)
