"""Cost of last-layer Grad-CAM through the engine, against a bare forward pass and against pytorch-grad-cam.

    python benchmarks/bench_gradcam.py [--models resnet50 convnext_tiny] [--repeats 5] [--batch-size 4]

Random weights, 224x224. On a CPU: one thread, CPU time, so that other programs disturb little. On a GPU: wall
time between synchronisations. Every round runs all contestants in turn; a ratio is the median of theirs.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import timm
import torch
from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from camstudy.explain import bind
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer

MODELS = ("resnet50", "convnext_tiny")


def rows(models: Sequence[str] = MODELS, repeats: int = 5, batch_size: int = 4) -> list[dict]:
    """Return two rows per model: ``name``, ``ratio``, ``target`` (a bound) and ``detail`` (the times)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for model in models for row in _compare(model, repeats, batch_size)]
    finally:
        torch.set_num_threads(threads)


def _compare(name: str, repeats: int, batch_size: int) -> list[dict]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False).eval().to(device)
    layer = resolve_target_layer(model)
    images = torch.randn(batch_size, 3, 224, 224, device=device)
    labels = np.arange(batch_size)
    targets = [ClassifierOutputTarget(int(label)) for label in labels]
    methods = {"gradcam": bind("gradcam", {})}

    def forward() -> None:
        # The precision of the engine, so that a GPU does not compare TF32 with float32.
        with torch.no_grad(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            model(images)

    def engine() -> None:
        explain(model, layer, images, labels, methods, batch_size=batch_size)

    def peer() -> None:
        # Made anew each time, or its hooks would run in the other contestants' passes.
        with GradCAM(model, [layer.module]) as cam:
            cam(images, targets)

    times = _interleave({"forward": forward, "engine": engine, "peer": peer}, repeats, device)
    seconds = {who: statistics.median(values) for who, values in times.items()}
    images_and_device = f"batch {batch_size} on {device.type}"
    return [
        {
            "name": f"Grad-CAM / bare forward pass, {name}",
            "ratio": _ratio(times["engine"], times["forward"]),
            "target": "<= 1.05",
            "detail": f"{seconds['engine']:.3f} s / {seconds['forward']:.3f} s, {images_and_device}",
        },
        {
            "name": f"pytorch-grad-cam / Grad-CAM, {name}",
            "ratio": _ratio(times["peer"], times["engine"]),
            "target": ">= 3",
            "detail": f"{seconds['peer']:.3f} s / {seconds['engine']:.3f} s, {images_and_device}",
        },
    ]


def _interleave(
    contestants: dict[str, Callable[[], None]], repeats: int, device: torch.device
) -> dict[str, list[float]]:
    """Return the seconds of each contestant in each round, after one round of warm-up."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times: dict[str, list[float]] = {who: [] for who in contestants}
    for round_ in range(repeats + 1):
        for who, run in contestants.items():
            _wait(device)
            start = clock()
            run()
            _wait(device)
            if round_:
                times[who].append(clock() - start)
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _ratio(numerator: list[float], denominator: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS, help="timm names")
    parser.add_argument("--repeats", type=int, default=5, help="rounds, after one of warm-up")
    parser.add_argument("--batch-size", type=int, default=4)
    arguments = parser.parse_args()
    for row in rows(arguments.models, arguments.repeats, arguments.batch_size):
        print(f"{row['name']:<50} {row['ratio']:>7.3f}  target {row['target']:<8} {row['detail']}")


if __name__ == "__main__":
    main()
