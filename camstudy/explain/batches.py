"""How networks are run: in batches that shrink when memory runs out, and in plain float32."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from camstudy.core.errors import CamstudyError

Result = TypeVar("Result")


def in_batches(
    work: Callable[[slice, int], Result], n: int, batch_size: int, device: torch.device, *, asks: bool = False
) -> tuple[list[Result], int]:
    """Return ``work`` of slices that cover ``range(n)`` in order, and the batch size to continue with.

    ``work`` gets the slice and the present batch size, which is halved as often as the device runs out of memory;
    ``asks`` says that it runs the network on so many images, however few its slice has. Raises `CamstudyError` when
    memory does not suffice for one image.
    """
    results: list[Result] = []
    start = 0
    while start < n:
        part = slice(start, min(start + batch_size, n))
        try:
            result = work(part, batch_size)
        except torch.cuda.OutOfMemoryError:
            result = None
        # Outside the handler, whose exception keeps the tensors of the failed attempt alive.
        if result is None:
            torch.cuda.empty_cache()
            batch_size = (batch_size if asks else part.stop - part.start) // 2
            if batch_size == 0:
                raise CamstudyError(f"{device}: out of memory with one image; take a device with more memory")
            continue
        results.append(result)
        start = part.stop
    return results, batch_size


@contextmanager
def plain_float32(device: torch.device) -> Iterator[None]:
    """Compute in plain float32: no autocast, no TF32, no algorithms picked by timing."""
    cudnn = torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled, benchmark=False, deterministic=True, allow_tf32=False
    )
    with torch.autocast(device.type, enabled=False), cudnn:
        yield
