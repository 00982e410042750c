"""Cost of insertion, deletion and masking against the forward passes that they need, and against one pass per step."""

import numpy as np
import timm
import torch

from benchmarks.timing import device, interleave, milliseconds, one_thread, ratio
from camstudy.metrics.faithfulness import Protocol
from camstudy.metrics.probing import probe

IMAGES, BATCH = 2, 32


def rows(repeats: int = 5) -> list[dict]:
    """Return rows at 224x224 with random weights, in at most 3 rounds."""
    torch.manual_seed(0)
    model, images = timm.create_model("resnet18").eval().to(device()), torch.randn(IMAGES, 3, 224, 224, device=device())
    maps, classes = np.random.default_rng(0).random((IMAGES, 7, 7), np.float32), np.arange(IMAGES)
    protocol = Protocol()
    # The image, masked and cropped; insertion and deletion without the end that they share with it.
    passes = IMAGES * (3 + 2 * protocol.steps(224**2))

    def forward(batch: int) -> None:
        with torch.no_grad():
            for start in range(0, passes, batch):
                model(images[:1].expand(min(batch, passes - start), -1, -1, -1).clone())

    def ours() -> None:
        options = {"mean": [0.0] * 3, "std": [1.0] * 3, "protocol": protocol, "batch_size": BATCH}
        probe(model, images, maps, classes, classes, **options)

    contestants = {"ours": ours, "necessary": lambda: forward(BATCH), "steps": lambda: forward(1)}
    with one_thread():
        times = interleave(contestants, min(repeats, 3), device())
    found = []
    for name, a, b, target in (
        ("faithfulness / its forward passes", "ours", "necessary", "<= 1.05"),
        ("one pass per step / faithfulness", "steps", "ours", ">= 0.95"),
    ):
        detail = f"{milliseconds(times[a])} / {milliseconds(times[b])}, resnet18, {passes} passes for {IMAGES} images"
        found.append({"name": name, "ratio": ratio(times[a], times[b]), "target": target, "detail": detail})
    return found
