"""Training a CA-Stream: a step of the frozen network with its stream, against the network's forward pass alone."""

from collections.abc import Iterator
from typing import NamedTuple

import timm
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.table import Row
from benchmarks.timing import device, float32, interleave, one_thread, versus
from camstudy.models.variants.castream import convert
from camstudy.training.subset import begin, choose


class Size(NamedTuple):
    """``batch`` images of ``pixels`` x ``pixels`` for each of the ``networks``."""

    networks: tuple[str, ...]
    pixels: int
    batch: int
    repeats: int


FULL = Size(("resnet50", "convnext_small"), pixels=224, batch=8, repeats=5)
SMALL = Size(("resnet18",), pixels=64, batch=2, repeats=1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row for each network: features, stream, loss, backward pass and SGD, against features and head."""
    size = SMALL if small else FULL
    with one_thread(), float32():
        for name in size.networks:
            torch.manual_seed(0)
            yield _row(name, timm.create_model(name), size)


def _row(name: str, plain: nn.Module, size: Size) -> Row:
    on = device()
    model = convert(timm.create_model(name))
    model.load_state_dict(plain.state_dict(), strict=False)
    plain, model = plain.eval().to(on), model.to(on)
    begin(model, choose(model, ["stream"]))
    optimizer = torch.optim.SGD(model.stream.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    images = torch.randn(size.batch, 3, size.pixels, size.pixels, device=on)
    labels = torch.arange(size.batch, device=on)

    def step() -> None:
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    def forward() -> None:
        with torch.no_grad():
            plain(images)

    times = interleave({"step": step, "forward": forward}, size.repeats, on)
    detail = f"batch of {size.batch}"
    return versus(f"training step of a stream / forward pass, {name}", times, "step", "forward", "<= 1.1", detail)
