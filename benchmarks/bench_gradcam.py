"""Cost of last-layer Grad-CAM through the engine, against a bare forward pass and against pytorch-grad-cam."""

import numpy as np
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from benchmarks.timing import device, interleave, milliseconds, one_thread, ratio
from camstudy.explain.engine import explain
from camstudy.explain.families import bind
from camstudy.explain.layers import resolve_target_layer

MODELS = ("resnet50", "convnext_tiny")
BATCH_SIZE = 4


def rows(repeats: int = 5) -> list[dict]:
    """Return two rows per model, at 224x224 with random weights."""
    with one_thread():
        return [row for model in MODELS for row in _compare(model, repeats)]


def _compare(name: str, repeats: int) -> list[dict]:
    on = device()
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval().to(on)
    layer = resolve_target_layer(model)
    images = torch.randn(BATCH_SIZE, 3, 224, 224, device=on)
    labels = np.arange(BATCH_SIZE)
    targets = [ClassifierOutputTarget(int(label)) for label in labels]
    methods = {"gradcam": bind("gradcam", {})}

    def forward() -> None:
        # The precision of the engine, so that a GPU does not compare TF32 with float32.
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            model(images)

    def engine() -> None:
        explain(model, layer, images, labels, methods, batch_size=BATCH_SIZE)

    def peer() -> None:
        # Made anew each time, or its hooks would run in the other contestants' passes.
        with GradCAM(model, [layer.module]) as cam:
            cam(images, targets)

    times = interleave({"forward": forward, "engine": engine, "peer": peer}, repeats, on)
    shown = {who: milliseconds(seconds) for who, seconds in times.items()}
    return [
        {
            "name": f"Grad-CAM / forward pass, {name}",
            "ratio": ratio(times["engine"], times["forward"]),
            "target": "<= 1.05",
            "detail": f"{shown['engine']} / {shown['forward']}, batch of {BATCH_SIZE}",
        },
        {
            "name": f"pytorch-grad-cam / Grad-CAM, {name}",
            "ratio": ratio(times["peer"], times["engine"]),
            "target": ">= 3",
            "detail": f"{shown['peer']} / {shown['engine']}, batch of {BATCH_SIZE}",
        },
    ]
