"""Training towards guided gradients: time and memory of a step against a plain one, and where the time goes."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models

from benchmarks.table import Row
from benchmarks.timing import device, float32, interleave, milliseconds, one_thread, ratio, versus
from camstudy.models.guided import cosine, guided, objectives, switchable

PEAK = "import benchmarks.bench_guidance as bench; print(bench.peak_megabytes({part!r}, {name!r}, {size!r}))"


class Size(NamedTuple):
    """``batch`` images of ``pixels`` x ``pixels`` for each of the ``networks``."""

    networks: tuple[str, ...]
    pixels: int
    batch: int
    repeats: int


FULL = Size(("resnet18", "mobilenet_v2"), pixels=64, batch=32, repeats=5)
SMALL = Size(("resnet18",), pixels=32, batch=2, repeats=1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield, for each network, rows of the whole step, of its parts, and of the memory that a step holds."""
    size = SMALL if small else FULL
    with one_thread(), float32():
        for name in size.networks:
            yield from _times(name, size)
            yield _memory(name, size)


def _times(name: str, size: Size) -> Iterator[Row]:
    step = Step(name, size)
    parts = {part: getattr(step, part) for part in ("plain", "switchable", "first", "both", "guidance")}
    times = interleave(parts, size.repeats, device())
    detail = f"batch of {size.batch} at {size.pixels}x{size.pixels}"
    yield versus(f"training step with guidance / plain, {name}", times, "guidance", "plain", "<= 4", detail)
    yield versus(f"training step with its figures alone / plain, {name}", times, "both", "plain", "", "weight 0")
    yield versus(f"plain step with switchable ReLUs / plain, {name}", times, "switchable", "plain", "<= 1.1", detail)
    for what, more, less in (
        ("gradient of the images", "first", "switchable"),
        ("guided gradient", "both", "first"),
        ("second derivatives", "guidance", "both"),
    ):
        # Of a noisy machine, a part may have taken no time.
        differences = [max(a - b, 1e-6) for a, b in zip(times[more], times[less], strict=True)]
        shown = f"{milliseconds(differences)} of {milliseconds(times['guidance'])}"
        yield Row(f"{what} in a step with guidance / plain step, {name}", ratio(differences, times["plain"]), "", shown)


def _memory(name: str, size: Size) -> Row:
    """On the CPU in a process of its own per kind of step."""
    peaks = {}
    for part in ("guidance", "plain"):
        if device().type == "cuda":
            peaks[part] = peak_megabytes(part, name, tuple(size))
        else:
            command = [sys.executable, "-c", PEAK.format(part=part, name=name, size=tuple(size))]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            peaks[part] = float(done.stdout)
    shown = f"{peaks['guidance']:.0f} MiB / {peaks['plain']:.0f} MiB"
    return Row(
        f"memory of a step with guidance / plain, {name}", peaks["guidance"] / max(peaks["plain"], 1), "<= 4", shown
    )


def peak_megabytes(part: str, name: str, size: tuple) -> float:
    """Return by how much a step raises the peak of memory, that of the GPU if there is one, above model and images."""
    torch.set_num_threads(1)
    step = Step(name, Size(*size))
    run = getattr(step, part)
    if device().type == "cuda":
        run()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = peak_and_now()[1]
    run()
    return (peak_and_now()[0] - before) / 1024


def peak_and_now() -> tuple[int, int]:
    """Return the most memory that this process has had so far, and what it has, in KiB."""
    found = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(found["VmHWM"].split()[0]), int(found["VmRSS"].split()[0])


class Step:
    """A training step, whole and with its parts left out."""

    def __init__(self, name: str, size: Size) -> None:
        torch.manual_seed(0)
        on = device()
        self.model: nn.Module = getattr(models, name)(num_classes=100).to(on).train()
        self.images = torch.randn(size.batch, 3, size.pixels, size.pixels, device=on)
        self.labels = torch.arange(size.batch, device=on) % 100
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)

    def plain(self) -> None:
        self._end(F.cross_entropy(self.model(self.images), self.labels))

    def switchable(self) -> None:
        with switchable(self.model):
            loss = F.cross_entropy(self.model(self.images), self.labels)
        self._end(loss)

    def _pass(self) -> tuple[torch.Tensor, torch.Tensor]:
        images = self.images.detach().requires_grad_()
        with switchable(self.model):
            return images, objectives(self.model(images), self.labels)

    def first(self) -> None:
        images, losses = self._pass()
        torch.autograd.grad(losses.sum(), images, retain_graph=True)
        self._end(losses.mean())

    def both(self) -> None:
        images, losses = self._pass()
        torch.autograd.grad(losses.sum(), images, retain_graph=True)
        with guided():
            torch.autograd.grad(losses.sum(), images, retain_graph=True)
        self._end(losses.mean())

    def guidance(self) -> None:
        images, losses = self._pass()
        (plain,) = torch.autograd.grad(losses.sum(), images, create_graph=True)
        with guided():
            (target,) = torch.autograd.grad(losses.sum(), images, retain_graph=True)
        self._end(losses.mean() + 0.0075 * (1 - cosine(plain, target)).mean())

    def _end(self, loss: torch.Tensor) -> None:
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
