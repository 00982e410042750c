"""Cost of last-layer Grad-CAM through the engine, against a bare forward pass and against pytorch-grad-cam."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from benchmarks.table import Row
from benchmarks.timing import device, float32, interleave, one_thread, versus
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import bind

MODELS = ("resnet50", "convnext_tiny")


class Size(NamedTuple):
    batch: int
    pixels: int
    repeats: int


FULL, SMALL = Size(batch=4, pixels=224, repeats=5), Size(batch=1, pixels=64, repeats=1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield two rows per model, with random weights."""
    with one_thread():
        for model in MODELS:
            yield from _compare(model, SMALL if small else FULL)


def _compare(name: str, size: Size) -> Iterator[Row]:
    on = device()
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval().to(on)
    layer = resolve_target_layer(model)
    images = torch.randn(size.batch, 3, size.pixels, size.pixels, device=on)
    labels = np.arange(size.batch)
    targets = [ClassifierOutputTarget(int(label)) for label in labels]
    methods = {"gradcam": bind("gradcam", {})}

    def forward() -> None:
        with torch.no_grad(), float32():
            model(images)

    def engine() -> None:
        explain(model, layer, images, labels, methods, batch_size=size.batch)

    def peer() -> None:
        # Made anew each time, or its hooks would run in the other contestants' passes.
        with GradCAM(model, [layer.module]) as cam:
            cam(images, targets)

    times = interleave({"forward": forward, "engine": engine, "peer": peer}, size.repeats, on)
    detail = f"batch of {size.batch}"
    yield versus(f"Grad-CAM / forward pass, {name}", times, "engine", "forward", "<= 1.05", detail)
    yield versus(f"pytorch-grad-cam / Grad-CAM, {name}", times, "peer", "engine", ">= 3", detail)
