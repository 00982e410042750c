"""Cost of the explanation methods against the passes that they need and against pytorch-grad-cam; what they hold."""

import gc
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from pytorch_grad_cam import AblationCAM, ScoreCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import nn

from benchmarks.timing import device, interleave, milliseconds, one_thread, ratio
from camstudy.explain.engine import explain
from camstudy.explain.families import METHODS, bind
from camstudy.explain.layers import resolve_target_layer

SHARED = [name for name, method in METHODS.items() if method.needs == "activations_gradients"]
CHUNK = 32  # images at once in Score-CAM and Ablation-CAM
LAYER, CHANNELS = "layer2", 128  # of ResNet18, 28x28
ITERATIONS = 10  # of Opti-CAM, on 4 images
WIDE = "import benchmarks.bench_methods as bench; print(bench.peak_megabytes({method!r}))"


def rows(repeats: int = 5) -> list[dict]:
    """Return rows at 224x224 with random weights; methods of many passes in at most 3 rounds."""
    few = min(repeats, 3)
    with one_thread():
        together = [_together(model, repeats) for model in ("resnet50", "convnext_tiny")]
        return [*together, *_score_cam(few), *_ablation_cam(few), *_opti_cam(few), _memory(), _left_behind()]


def _row(name: str, times: dict, a: str, b: str, target: str, detail: str) -> dict:
    shown = f"{milliseconds(times[a])} / {milliseconds(times[b])}, {detail}"
    return {"name": name, "ratio": ratio(times[a], times[b]), "target": target, "detail": shown}


def _float32():
    # The precision of the engine, so that a GPU does not compare TF32 with float32.
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _together(name: str, repeats: int) -> dict:
    on = device()
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval().to(on)
    layer, images = resolve_target_layer(model), torch.randn(4, 3, 224, 224, device=on)
    methods = {method: bind(method, {}) for method in SHARED}

    def forward() -> None:
        with torch.no_grad(), _float32():
            model(images)

    def engine() -> None:
        explain(model, layer, images, np.arange(4), methods, batch_size=4)

    times = interleave({"forward": forward, "engine": engine}, repeats, on)
    title = f"{len(SHARED)} methods from one pass / forward pass, {name}"
    return _row(title, times, "engine", "forward", "<= 1.1", "batch of 4")


def _resnet18(n: int) -> tuple[nn.Module, torch.Tensor]:
    torch.manual_seed(0)
    return timm.create_model("resnet18").eval().to(device()), torch.randn(n, 3, 224, 224, device=device())


def _peer(kind: type, model: nn.Module, image: torch.Tensor) -> Callable[[], None]:
    def run() -> None:
        with kind(model, [getattr(model, LAYER)]) as cam:
            cam.batch_size = CHUNK
            cam(image, [ClassifierOutputTarget(0)])

    return run


def _score_cam(repeats: int) -> list[dict]:
    model, image = _resnet18(1)
    copies = image.expand(CHUNK, -1, -1, -1).contiguous()
    passes = (lambda: model(copies), "Score-CAM / its forward passes")
    return _by_channel(repeats, model, image, "score_cam", passes, ScoreCAM, ">= 0.9")


def _ablation_cam(repeats: int) -> list[dict]:
    model, image = _resnet18(1)
    # Random weights: every channel is alive, so that all tails run.
    outputs = torch.randn(CHUNK, CHANNELS, 28, 28, device=device()).relu()

    def tail() -> None:
        model.fc(model.global_pool(model.layer4(model.layer3(outputs))))

    passes = (tail, "Ablation-CAM / one forward pass and its tails")
    return _by_channel(repeats, model, image, "ablation_cam", passes, AblationCAM, ">= 2")


def _by_channel(
    repeats: int,
    model: nn.Module,
    image: torch.Tensor,
    method: str,
    passes: tuple[Callable[[], object], str],
    peer: type,
    lead: str,
) -> list[dict]:
    """Compare a method that asks the model about each channel with its passes, ``CHUNK`` at once, and a peer."""
    layer, methods = resolve_target_layer(model, LAYER), {method: bind(method, {})}
    of_chunk, title = passes

    def necessary() -> None:
        with torch.no_grad(), _float32():
            model(image)
            for _ in range(CHANNELS // CHUNK):
                of_chunk()

    def engine() -> None:
        explain(model, layer, image, np.zeros(1), methods, batch_size=CHUNK)

    contestants = {"necessary": necessary, "engine": engine, "peer": _peer(peer, model, image)}
    times = interleave(contestants, repeats, device())
    detail = f"resnet18, {CHANNELS} channels, {CHUNK} at once"
    return [
        _row(title, times, "engine", "necessary", "<= 1.05", detail),
        _row(f"pytorch-grad-cam / {title.partition(' / ')[0]}", times, "peer", "engine", lead, detail),
    ]


def _opti_cam(repeats: int) -> list[dict]:
    model, images = _resnet18(4)
    layer = resolve_target_layer(model)
    methods = {"opti_cam": bind("opti_cam", {"iterations": ITERATIONS, "early_stop": False})}

    def necessary() -> None:
        model.requires_grad_(False)
        with _float32():
            with torch.no_grad():
                model(images)
            for _ in range(ITERATIONS):
                leaf = images.clone().requires_grad_()
                torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
        model.requires_grad_()

    def engine() -> None:
        explain(model, layer, images, np.zeros(4), methods, batch_size=4)

    def loop() -> None:
        for image in images[:, None]:
            _one_by_one(model, image)

    times = interleave({"necessary": necessary, "engine": engine, "loop": loop}, repeats, device())
    detail = f"resnet18, {ITERATIONS} steps, 4 images"
    return [
        _row("Opti-CAM / its passes forward and back", times, "engine", "necessary", "<= 1.1", detail),
        _row("plain loop / Opti-CAM", times, "loop", "engine", ">= 2.2", detail),
    ]


def _one_by_one(model: nn.Module, image: torch.Tensor) -> None:
    """Opti-CAM of one image as it is read off the paper: gradients of all weights, activations anew at every step."""
    kept: list[torch.Tensor] = []
    handle = model.layer4.register_forward_hook(lambda module, inputs, output: kept.append(output))
    u = torch.full((1, 512, 1, 1), 0.5, device=image.device, requires_grad=True)
    optimizer = torch.optim.Adam([u], lr=0.1)
    for _ in range(ITERATIONS):
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
    """A cheap network of which the target layer has 2,048 channels, 7x7."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Sequential(nn.Conv2d(3, 32, 32, 32), nn.Conv2d(32, 2048, 1), nn.ReLU())
        self.fc = nn.Linear(2048, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.layer(x).mean((2, 3)))


def peak_megabytes(method: str) -> float:
    """Return by how much explaining 8 images at 224x224 raises this process's peak of memory, with 2,048 channels."""
    torch.set_num_threads(1)
    model, images = _Wide().eval(), torch.randn(8, 3, 224, 224)
    layer = resolve_target_layer(model, "layer")
    explain(model, layer, images, np.zeros(8), {"gradcam": bind("gradcam", {})}, batch_size=8)
    # Linux forgets the peak so far, that of the imports.
    Path("/proc/self/clear_refs").write_text("5")
    before = _resident("VmRSS")
    explain(model, layer, images, np.zeros(8), {method: bind(method, {})}, batch_size=CHUNK)
    return (_resident("VmHWM") - before) / 1024


def _resident(kind: str) -> int:
    return int(re.search(rf"{kind}:\s+(\d+)", Path("/proc/self/status").read_text())[1])


def _memory() -> dict:
    """In a process of its own per method, on the CPU."""
    naive = 2048 * 3 * 224 * 224 * 4 / 2**20
    peaks = {}
    for method in ("score_cam", "ablation_cam"):
        command = [sys.executable, "-c", WIDE.format(method=method)]
        peaks[method] = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return {
        "name": "memory of 2,048 masked images / peak of Score- and Ablation-CAM",
        "ratio": naive / max(1, *peaks.values()),
        "target": ">= 5",
        "detail": f"{naive:.0f} MiB / " + ", ".join(f"{peak:.0f} MiB" for peak in peaks.values()) + " for 8 images",
    }


def _left_behind() -> dict:
    """Tensors and hooks after 1,000 images and after 100, of all methods."""
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
    methods = {name: bind(name, quick.get(name, {})) for name, method in METHODS.items() if method.needs != "dataset"}
    layer, images = resolve_target_layer(model, "1"), torch.randn(50, 3, 32, 32)

    def held(batches: int) -> int:
        for _ in range(batches):
            explain(model, layer, images, np.zeros(50), methods, batch_size=50)
        gc.collect()
        hooks = sum(len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules())
        return hooks + sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    before, after = held(2), held(18)
    return {
        "name": "tensors and hooks after 1,000 images / after 100",
        "ratio": after / before,
        "target": "<= 1",
        "detail": f"{after} / {before}, {len(methods)} methods",
    }
