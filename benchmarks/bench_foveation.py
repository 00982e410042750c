"""Cost of FovEx and NeVA against the passes forward and back to the image that their steps need."""

from collections.abc import Iterator

import numpy as np
import timm
import torch

from benchmarks.table import Row
from benchmarks.timing import device, float32, interleave, one_thread, versus
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import bind

NETWORKS = {"resnet18": 160, "vit_small_patch16_224": 224}  # side of the images, in pixels
BATCH, REPEATS, FIXATIONS, STEPS = 4, 3, 2, 5
SMALL = {"resnet18": 32}


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row per method and network, whose weights are random."""
    on = device()
    with one_thread():
        for network, side in (SMALL if small else NETWORKS).items():
            torch.manual_seed(0)
            model = timm.create_model(network, pretrained=False).eval().to(on)
            images = torch.randn(BATCH, 3, side, side, device=on)
            for name in ("fovex", "neva"):
                yield _against_passes(name, network, model, images, 1 if small else REPEATS)


def _against_passes(name: str, network: str, model: torch.nn.Module, images: torch.Tensor, repeats: int) -> Row:
    """Return a method's time in that of the same network's pass without gradients and those of all its steps."""
    layer, labels, on = resolve_target_layer(model), np.zeros(len(images)), images.device
    methods = {name: bind(name, {"fixations": FIXATIONS, "steps": STEPS})}

    def necessary() -> None:
        model.requires_grad_(False)
        with float32():
            with torch.no_grad():
                model(images)
            for _ in range(FIXATIONS * STEPS):
                leaf = images.clone().requires_grad_()
                torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
        model.requires_grad_()

    def engine() -> None:
        explain(model, layer, images, labels, methods, batch_size=len(images))

    times = interleave({"necessary": necessary, "engine": engine}, repeats, on)
    detail = f"{len(images)} images, {FIXATIONS} fixations of {STEPS} steps"
    title = f"{name} / its passes forward and back, {network}"
    return versus(title, times, "engine", "necessary", "<= 1.1", detail)
