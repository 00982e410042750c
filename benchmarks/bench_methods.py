"""Cost of the explanation methods against the passes that they need and against pytorch-grad-cam; what they hold."""

import gc
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm
import torch
from pytorch_grad_cam import AblationCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from benchmarks.table import Row
from benchmarks.timing import device, float32, interleave, one_thread, versus
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import METHODS, bind

OF_ATTENTION = [name for name, method in METHODS.items() if method.attention]
FOR_ALL = [
    name
    for name, method in METHODS.items()
    if method.needs != "dataset" and method.variant is None and name not in OF_ATTENTION
]
SHARED = [name for name, method in METHODS.items() if method.needs == "activations_gradients"]
# What the catalogue's entries of these methods state, from which the time of jobs follows.
PASSES = {"raw_attention": 1.2, "attention_rollout": 1.2, "gae": 4, "class_embedding_projection": 4}
CHUNK = 32  # images at once in Score-CAM and Ablation-CAM
LAYER, CHANNELS = "layer2", 128  # of ResNet18
WIDE = "import benchmarks.bench_methods as bench; print(bench.peak_megabytes({method!r}, {size!r}))"


class Size(NamedTuple):
    """``few``: rounds of methods of many passes; ``steps``: of Opti-CAM; ``wide``: channels where memory is measured.

    Images of methods of many passes are ``less`` pixels wide, all others ``pixels``. What is left behind is counted
    after one time ``kept`` images and ten times.
    """

    batch: int
    pixels: int
    less: int
    repeats: int
    few: int
    steps: int
    wide: int
    kept: int


FULL = Size(batch=4, pixels=224, less=160, repeats=5, few=3, steps=10, wide=2048, kept=100)
SMALL = Size(batch=2, pixels=64, less=32, repeats=1, few=1, steps=2, wide=64, kept=2)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield rows of networks with random weights, of memory and of what is left behind."""
    size = SMALL if small else FULL
    with one_thread():
        for model in ("resnet50", "convnext_tiny"):
            yield _together(model, size)
        yield from _of_attention(size)
        yield from _score_cam(size)
        yield from _ablation_cam(size)
        yield from _opti_cam(size)
        yield _memory(size)
        yield _left_behind(size)


def _of_attention(size: Size) -> Iterator[Row]:
    """Yield a row per method of a transformer's attention: its time in forward passes, as the catalogue states them."""
    on = device()
    torch.manual_seed(0)
    model = timm.create_model("vit_small_patch16_224", pretrained=False, img_size=size.pixels).eval().to(on)
    layer, images = resolve_target_layer(model), torch.randn(size.batch, 3, size.pixels, size.pixels, device=on)

    def forward() -> None:
        with torch.no_grad(), float32():
            model(images)

    for name in OF_ATTENTION:
        bound = {name: bind(name, {})}

        def engine(bound: dict = bound) -> None:
            explain(model, layer, images, np.arange(size.batch), bound, batch_size=size.batch)

        times = interleave({"forward": forward, "engine": engine}, size.repeats, on)
        yield versus(
            f"{name} / forward pass, ViT-S/16",
            times,
            "engine",
            "forward",
            f"<= {PASSES[name]}",
            f"batch of {size.batch}",
        )


def _together(name: str, size: Size) -> Row:
    on = device()
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval().to(on)
    layer, images = resolve_target_layer(model), torch.randn(size.batch, 3, size.pixels, size.pixels, device=on)
    methods = {method: bind(method, {}) for method in SHARED}

    def forward() -> None:
        with torch.no_grad(), float32():
            model(images)

    def engine() -> None:
        explain(model, layer, images, np.arange(size.batch), methods, batch_size=size.batch)

    times = interleave({"forward": forward, "engine": engine}, size.repeats, on)
    title = f"{len(SHARED)} methods from one pass / forward pass, {name}"
    return versus(title, times, "engine", "forward", "<= 1.1", f"batch of {size.batch}")


def _resnet18(n: int, pixels: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    model, images = timm.create_model("resnet18"), torch.randn(n, 3, pixels, pixels, device=device())
    return model.eval().to(device()), images


def _peer(kind: type, model: nn.Module, image: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        with kind(model, [getattr(model, LAYER)]) as cam:
            cam.batch_size = CHUNK
            cam(image, [ClassifierOutputTarget(0)])

    return run


def _score_cam(size: Size) -> Iterator[Row]:
    model, image = _resnet18(1, size.less)
    copies = image.expand(CHUNK, -1, -1, -1).contiguous()
    passes = (lambda: model(copies), "Score-CAM / its forward passes")
    return _by_channel(size.few, model, image, "score_cam", passes, ScoreCAM, ">= 0.9")


def _ablation_cam(size: Size) -> Iterator[Row]:
    model, image = _resnet18(1, size.less)
    # Random weights: every channel is alive, so that all tails run.
    outputs = torch.randn(CHUNK, CHANNELS, size.less // 8, size.less // 8, device=device()).relu()

    def tail() -> None:
        model.fc(model.global_pool(model.layer4(model.layer3(outputs))))

    passes = (tail, "Ablation-CAM / one forward pass and its tails")
    return _by_channel(size.few, model, image, "ablation_cam", passes, AblationCAM, ">= 2")


def _by_channel(
    repeats: int,
    model: nn.Module,
    image: torch.Tensor,
    method: str,
    passes: tuple[Callable[[], object], str],
    peer: type,
    lead: str,
) -> Iterator[Row]:
    """Compare a method that asks the model about each channel with its passes, ``CHUNK`` at once, and a peer."""
    layer, methods = resolve_target_layer(model, LAYER), {method: bind(method, {})}
    of_chunk, title = passes

    def necessary() -> None:
        with torch.no_grad(), float32():
            model(image)
            for _ in range(CHANNELS // CHUNK):
                of_chunk()

    def engine() -> None:
        explain(model, layer, image, np.zeros(1), methods, batch_size=CHUNK)

    contestants = {"necessary": necessary, "engine": engine, "peer": _peer(peer, model, image)}
    times = interleave(contestants, repeats, device())
    detail = f"resnet18, {CHANNELS} channels, {CHUNK} at once"
    yield versus(title, times, "engine", "necessary", "<= 1.05", detail)
    yield versus(f"pytorch-grad-cam / {title.partition(' / ')[0]}", times, "peer", "engine", lead, detail)


def _opti_cam(size: Size) -> Iterator[Row]:
    model, images = _resnet18(size.batch, size.less)
    layer = resolve_target_layer(model)
    methods = {"opti_cam": bind("opti_cam", {"iterations": size.steps, "early_stop": False})}

    def necessary() -> None:
        model.requires_grad_(False)
        with float32():
            with torch.no_grad():
                model(images)
            for _ in range(size.steps):
                leaf = images.clone().requires_grad_()
                torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
        model.requires_grad_()

    def engine() -> None:
        explain(model, layer, images, np.zeros(size.batch), methods, batch_size=size.batch)

    def loop() -> None:
        for image in images[:, None]:
            _one_by_one(model, image, size.steps)

    times = interleave({"necessary": necessary, "engine": engine, "loop": loop}, size.few, device())
    detail = f"resnet18, {size.steps} steps, {size.batch} images"
    yield versus("Opti-CAM / its passes forward and back", times, "engine", "necessary", "<= 1.1", detail)
    yield versus("plain loop / Opti-CAM", times, "loop", "engine", ">= 2.2", detail)


def _one_by_one(model: nn.Module, image: torch.Tensor, steps: int) -> None:
    """Opti-CAM of one image as it is read off the paper: gradients of all weights, activations anew at every step."""
    kept: list[torch.Tensor] = []
    handle = model.layer4.register_forward_hook(lambda module, inputs, output: kept.append(output))
    u = torch.full((1, 512, 1, 1), 0.5, device=image.device, requires_grad=True)
    optimizer = torch.optim.Adam([u], lr=0.1)
    for _ in range(steps):
        model(image)
        saliency = (u.softmax(1) * kept[-1].detach().relu()).sum(1, keepdim=True)
        mask = nn.functional.interpolate(saliency, image.shape[-2:], mode="bilinear")
        mask = (mask - mask.min()) / (mask.max() - mask.min())
        optimizer.zero_grad()
        (-model(image * mask)[0, 0]).backward()
        optimizer.step()
        kept.clear()
    handle.remove()
    model.zero_grad()


class _Wide(nn.Module):
    """A cheap network of which the target layer has many channels, one place per 32x32 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 32, 32, 32), nn.Conv2d(32, channels, 1), nn.ReLU())
        self.fc = nn.Linear(channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer(x).mean((2, 3)))


def peak_megabytes(method: str, size: tuple) -> float:
    """Return by how much explaining two batches of images raises this process's peak of memory."""
    size = Size(*size)
    n = 2 * size.batch
    torch.set_num_threads(1)
    model, images = _Wide(size.wide).eval(), torch.randn(n, 3, size.pixels, size.pixels)
    layer = resolve_target_layer(model, "layer")
    explain(model, layer, images, np.zeros(n), {"gradcam": bind("gradcam", {})}, batch_size=n)
    # Linux forgets the peak so far, that of the imports.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    explain(model, layer, images, np.zeros(n), {method: bind(method, {})}, batch_size=CHUNK)
    return (_resident("VmHWM") - before) / 1024


def _resident(kind: str) -> int:
    return int(re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def _memory(size: Size) -> Row:
    """In a process of its own per method, on the CPU."""
    naive = size.wide * 3 * size.pixels**2 * 4 / 2**20
    peaks = []
    for method in ("score_cam", "ablation_cam"):
        command = [sys.executable, "-c", WIDE.format(method=method, size=tuple(size))]
        peaks.append(float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))
    shown = ", ".join(f"{peak:.0f} MiB" for peak in peaks)
    detail = f"{naive:.0f} MiB / {shown} for {2 * size.batch} images"
    name = f"memory of {size.wide:,} masked images / peak of Score-, Ablation-CAM"
    return Row(name, naive / max(1, *peaks), ">= 5", detail)


def _left_behind(size: Size) -> Row:
    """Tensors and hooks after ten times as many images, of all methods."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    quick = {
        "extremal_perturbation": {"iterations": 2, "step": 8},
        "meaningful_perturbation": {"iterations": 2, "mask_size": 8, "blur": 3},
        "opti_cam": {"iterations": 2},
        "pytorch_grad_cam": {"class_name": "EigenGradCAM"},
        "rise": {"n_masks": 4},
        "smoothgrad": {"samples": 2},
        "integrated_gradients": {"steps": 2},
    }
    methods = {name: bind(name, quick.get(name, {})) for name in FOR_ALL}
    n = size.kept // 2
    layer, images = resolve_target_layer(model, "1"), torch.randn(n, 3, 32, 32)

    def held(batches: int) -> int:
        for _ in range(batches):
            explain(model, layer, images, np.zeros(n), methods, batch_size=n)
        gc.collect()
        hooks = sum(len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules())
        return hooks + sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    before, after = held(2), held(18)
    name = f"tensors and hooks after {20 * n:,} images / after {2 * n:,}"
    return Row(name, after / before, "<= 1", f"{after} / {before}, {len(methods)} methods")
