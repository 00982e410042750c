"""Speed and memory of a network, measured: images per second, and the most memory that a batch takes.

``python -m camstudy.models.speed '{"entry": ..., "size": ...}'`` is the fresh process in which memory is measured on a
CPU: it prints megabytes. Weights are random, on which neither speed nor memory depends.
"""

import json
import math
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.models.build import build_model, fold_variants

MEMORY = {"cuda": "torch.cuda.max_memory_allocated", "cpu": "the peak resident set of a fresh process"}
WARM_UP = 3  # passes before the clock starts: kernels are chosen, memory is allocated


def device_name(device: torch.device) -> str:
    """Return what a device is called: the GPU's name, or the processor's and the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    threads = torch.get_num_threads()
    return f"{found[1] if found else 'CPU'}, {threads} thread{'s' if threads > 1 else ''}"


def network(entry: Mapping, *, folded: bool) -> nn.Module:
    """Return the network of a catalogue entry with random weights, in evaluation mode, with or without DCLS layers."""
    model = build_model(entry).eval()
    return fold_variants(model, entry) if folded else model


@dataclass(frozen=True)
class Timing:
    """The median time of ``repeats`` runs in seconds, after ``warm_up`` runs that do not count."""

    seconds: float
    repeats: int
    warm_up: int


def timed(run: Callable[[], object], device: torch.device, *, repeats: int, seconds: float = math.inf) -> Timing:
    """Return the median time of at most ``repeats`` runs, at least one, after at most `WARM_UP` more.

    No run begins when those that count have taken ``seconds``, or those of the warm-up. A first run that takes longer
    is the only one, and counts. ``device`` is waited for before the clock is read.
    """

    def once() -> float:
        _wait(device)
        start = time.perf_counter()
        run()
        _wait(device)
        return time.perf_counter() - start

    warm_up = [once()]
    if warm_up[0] > seconds:
        return Timing(warm_up[0], 1, 0)
    while len(warm_up) < WARM_UP and sum(warm_up) < seconds:
        warm_up.append(once())
    counted = [once()]
    while len(counted) < repeats and sum(counted) < seconds:
        counted.append(once())
    return Timing(statistics.median(counted), len(counted), len(warm_up))


def images_per_second(model: nn.Module, images: torch.Tensor, repeats: int) -> float:
    """Return the size of a batch by the median time of a forward pass without gradients, float32.

    ``model`` and ``images`` (n, 3, s, s) are on the same device.
    """
    with torch.inference_mode():
        return len(images) / timed(lambda: model(images), images.device, repeats=repeats).seconds


def peak_memory_mb(entry: Mapping, size: int, batch_size: int, device: torch.device, *, folded: bool) -> int:
    """Return the most memory (MiB) that a forward pass takes, weights included.

    On a GPU: `torch.cuda.max_memory_allocated` after a reset. On a CPU: the peak resident set of a fresh process while
    the network runs once, Python and its libraries included.
    """
    if device.type == "cuda":
        model = network(entry, folded=folded).to(device)
        images = torch.randn(batch_size, 3, size, size, device=device)
        torch.cuda.reset_peak_memory_stats(device)
        with torch.inference_mode():
            model(images)
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    job = {"entry": entry, "size": size, "batch_size": batch_size, "folded": folded}
    command = [sys.executable, "-m", "camstudy.models.speed", json.dumps(job | {"threads": torch.get_num_threads()})]
    return int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def measure(entry: Mapping, size: int, device: torch.device, *, batch_size: int, repeats: int) -> dict:
    """Return speed and memory of a catalogue entry, with DCLS layers folded and as they are trained.

    ``{"device", "batch_size", "repeats", "warm_up", "images_per_second": {"folded", "unfolded"}, "peak_memory_mb":
    {"folded", "unfolded"}, "memory"}``, the last one saying of what. A network without DCLS layers has None for
    ``unfolded``. Raises `CamstudyError` if the batch does not fit in memory.
    """
    found = {"images_per_second": {}, "peak_memory_mb": {}}
    images = torch.randn(batch_size, 3, size, size, device=device)
    for name, folded in (("folded", True), ("unfolded", False)):
        if not folded and not (entry.get("variant") or {}).get("dcls"):
            found["images_per_second"][name] = found["peak_memory_mb"][name] = None
            continue
        try:
            model = network(entry, folded=folded).to(device)
            found["images_per_second"][name] = images_per_second(model, images, repeats)
            del model
            found["peak_memory_mb"][name] = peak_memory_mb(entry, size, batch_size, device, folded=folded)
        except torch.cuda.OutOfMemoryError:
            text = f"{device}: out of memory with {batch_size} images"
            raise CamstudyError(f"{text}; as `cost`, name a protocol of a smaller `batch_size`") from None
    how = {"device": device_name(device), "memory": MEMORY[device.type]}
    return {**how, "batch_size": batch_size, "repeats": repeats, "warm_up": WARM_UP, **found}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _main(entry: Mapping, size: int, batch_size: int, folded: bool, threads: int) -> None:
    torch.set_num_threads(threads)
    model = network(entry, folded=folded)
    images = torch.randn(batch_size, 3, size, size)
    with suppress(OSError):
        # Building takes more than once the weights: forget that peak, where the system lets us.
        Path("/proc/self/clear_refs").write_text("5")
    with torch.inference_mode():
        model(images)
    # Not `ru_maxrss`, which begins with the size of the process that started this one.
    print(int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024)


if __name__ == "__main__":
    _main(**json.loads(sys.argv[1]))
