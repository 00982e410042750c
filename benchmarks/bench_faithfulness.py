"""Cost of insertion, deletion and masking against the forward passes that they need, and against one pass per step."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import timm
import torch

from benchmarks.table import Row
from benchmarks.timing import device, interleave, one_thread, versus
from camstudy.metrics.faithfulness import Protocol
from camstudy.metrics.probing import probe


class Size(NamedTuple):
    pixels: int
    batch: int
    repeats: int


FULL, SMALL = Size(pixels=224, batch=32, repeats=3), Size(pixels=32, batch=32, repeats=1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield both rows, with random weights."""
    size, on = SMALL if small else FULL, device()
    torch.manual_seed(0)
    model = timm.create_model("resnet18").eval().to(on)
    image = torch.randn(1, 3, size.pixels, size.pixels, device=on)
    maps = np.random.default_rng(0).random((1, 7, 7), np.float32)
    classes, protocol = np.zeros(1, np.int64), Protocol()
    # The image, masked and cropped; insertion and deletion without the end that they share with it.
    passes = 3 + 2 * protocol.steps(size.pixels**2)

    def forward(batch: int) -> None:
        with torch.no_grad():
            for start in range(0, passes, batch):
                model(image.expand(min(batch, passes - start), -1, -1, -1).clone())

    def ours() -> None:
        options = {"mean": [0.0] * 3, "std": [1.0] * 3, "protocol": protocol, "batch_size": size.batch}
        probe(model, image, maps, classes, classes, **options)

    contestants = {"ours": ours, "necessary": lambda: forward(size.batch), "steps": lambda: forward(1)}
    with one_thread():
        times = interleave(contestants, size.repeats, on)
    detail = f"resnet18, {passes} passes for one image"
    yield versus("faithfulness / its forward passes", times, "ours", "necessary", "<= 1.05", detail)
    yield versus("one pass per step / faithfulness", times, "steps", "ours", ">= 0.95", detail)
