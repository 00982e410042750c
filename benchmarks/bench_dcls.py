"""DCLS at inference: unfolded against folded layers, and dense kernels as the dcls package and as we build them."""

import timm
import torch
from DCLS.construct.modules import ConstructKernel2d, Dcls2d
from torch import nn

from benchmarks.timing import device, interleave, milliseconds, one_thread, ratio
from camstudy.models.dcls import convert, dcls_layers, fold

CONVNEXT = {"replace": "depthwise", "kernel_size": 17, "kernel_count": 34, "version": "v0", "init": "random"}
RESNET = {"replace": "conv3x3", "kernel_size": 7, "kernel_count": 5, "version": "v0", "init": "random"}


def rows(repeats: int = 5) -> list[dict]:
    """Return rows for a whole ConvNeXt-T, for a 3x3 layer of ResNet50's last stage, and for the kernels of both."""
    torch.manual_seed(0)
    convnext = convert(timm.create_model("convnext_tiny", pretrained=False), **CONVNEXT)
    resnet = convert(nn.Sequential(nn.Conv2d(512, 512, 3, padding=1, bias=False)), **RESNET)
    with one_thread():
        return [
            _unfolded("convnext_tiny 17/34", convnext, (1, 3, 224, 224), repeats),
            _unfolded("layer 512 of resnet50 7/5", resnet, (1, 512, 7, 7), repeats),
            _kernels("depthwise 768, 17/34", list(dcls_layers(convnext))[-1], repeats),
            _kernels("dense 512x512, 7/5", next(dcls_layers(resnet)), repeats),
        ]


def _unfolded(name: str, model: nn.Module, shape: tuple[int, ...], repeats: int) -> dict:
    on = device()
    model = model.eval().to(on)
    folded, images = fold(model), torch.randn(shape, device=on)
    with torch.inference_mode():
        difference = (model(images) - folded(images)).abs().max().item()
        times = interleave({"unfolded": lambda: model(images), "folded": lambda: folded(images)}, repeats, on)
    return {
        "name": f"DCLS unfolded / folded, {name}",
        "ratio": ratio(times["unfolded"], times["folded"]),
        "target": ">= 1",
        "detail": f"{milliseconds(times['unfolded'])} / {milliseconds(times['folded'])}, one image, "
        f"differing by {difference:.0e}",
    }


def _kernels(name: str, layer: Dcls2d, repeats: int) -> dict:
    on = device()
    layer = layer.to(on)
    size = (layer.out_channels, layer.in_channels, layer.groups, layer.kernel_count, layer.dilated_kernel_size)
    package = ConstructKernel2d(*size, layer.version).to(on)
    parts = (layer.weight, layer.P, layer.SIG)
    with torch.inference_mode():
        difference = (package(*parts) - layer.DCK(*parts)).abs().max().item()
        times = interleave({"package": lambda: package(*parts), "ours": lambda: layer.DCK(*parts)}, repeats, on)
    return {
        "name": f"dcls package / our kernels, {name}",
        "ratio": ratio(times["package"], times["ours"]),
        "target": ">= 1",
        "detail": f"{milliseconds(times['package'])} / {milliseconds(times['ours'])}, differing by {difference:.0e}",
    }
