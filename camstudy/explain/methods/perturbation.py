"""RISE and meaningful perturbation: what the model says of an image that masks hide in part."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from camstudy.core.geometry import resample
from camstudy.explain.parameters import above, at_least, check, odd
from camstudy.explain.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

    from camstudy.explain.context import Context


@METHODS.register(
    "rise",
    needs="model",
    divided=True,
    resolution="input",
    source="Petsiuk et al. 2018, arXiv 1806.07421",
    allowed={
        "n_masks": at_least(1),
        "grid": at_least(1),
        "probability": above(0, 1, closed=True),
        "seed": at_least(0),
    },
)
def rise(context: Context, *, n_masks: int = 4000, grid: int = 7, probability: float = 0.5, seed: int = 0) -> Tensor:
    """Return sum_i p_i M_i / (N p), values >= 0: p_i the probability of class c for the image times mask M_i.

    All images get the same N masks, made by `rise_masks` from ``seed``; they multiply the image before normalisation
    (the released code multiplies the normalised image). The expected map has a constant offset: ranks and min-max
    mean something, levels do not. One forward pass per mask.

    Parameters
    ----------
    n_masks : N
    grid : cells along a side of a mask before it is resized
    probability : p, that a cell shows the image, in (0, 1]
    """
    import torch

    check(grid <= context.size, "rise", "grid", grid, f"from 1 to the side of the images, {context.size}")
    total = context.images.new_zeros(len(context.images), context.size**2)
    for part in rise_masks(n_masks, grid, probability, seed, size=context.size, chunk=context.batch_size):
        masks = torch.from_numpy(part).to(context.images)
        for i, image in enumerate(context.images):
            seen = context.probabilities(context.model(context.masked(masks[:, None], image)))[:, context.target[i]]
            total[i] += seen @ masks.flatten(1)
    return total.unflatten(1, (context.size, context.size)) / (n_masks * probability)


def rise_masks(
    n_masks: int, grid: int, probability: float, seed: int, *, size: int, chunk: int
) -> Iterator[np.ndarray]:
    """Yield masks (at most ``chunk``, size, size) in [0, 1], float32; they depend on neither image nor chunk.

    A grid of cells, each 1 with ``probability`` and 0 otherwise, is resized bilinearly (pixel centres at half-integers,
    borders replicated) to grid + 1 times the side of a cell, ceil(size / grid), and cut at a random shift of less than
    a cell.
    """
    generator = np.random.default_rng(seed)
    cell = math.ceil(size / grid)
    cells = (generator.random((n_masks, grid, grid)) < probability).astype(np.float32)
    shifts = generator.integers(0, cell, (n_masks, 2))
    for start in range(0, n_masks, chunk):
        part = slice(start, start + chunk)
        large = resample(cells[part], ((grid + 1) * cell,) * 2)
        yield np.stack([mask[y : y + size, x : x + size] for mask, (y, x) in zip(large, shifts[part], strict=True)])


@METHODS.register(
    "meaningful_perturbation",
    needs="model",
    divided=True,
    resolution="mask_size",
    source="Fong and Vedaldi 2017, arXiv 1704.03296; values of jacobgil/pytorch-explain-black-box",
    allowed={
        "mask_size": at_least(2),
        "iterations": at_least(1),
        "learning_rate": above(0),
        "tv_power": at_least(1),
        "blur": odd(),
        **dict.fromkeys(("l1", "tv", "noise", "seed"), at_least(0)),
    },
)
def meaningful_perturbation(
    context: Context,
    *,
    mask_size: int = 28,
    iterations: int = 500,
    learning_rate: float = 0.1,
    l1: float = 0.01,
    tv: float = 0.2,
    tv_power: float = 3.0,
    noise: float = 0.2,
    blur: int = 11,
    seed: int = 0,
) -> Tensor:
    """Return 1 - m, values in [0, 1], m (mask_size, mask_size) the mask that hides least and lowers p_c most.

    x' = m x + (1 - m) b + noise, with m resized bilinearly, b the image after a ``blur`` x ``blur`` median filter with
    replicated borders, and Gaussian noise of standard deviation ``noise``, in units of the normalised image, drawn anew
    at every step by (seed, image number). Minimised from m = 1 by Adam, with m clipped to [0, 1] after each step:
    ``l1`` mean|1 - m| + ``tv`` (mean |row differences|^q + mean |column differences|^q) + p_c(x'), q = ``tv_power``.
    One forward and backward pass to the input per step.
    """
    import torch

    from camstudy.explain.context import upsample

    expected = f"from 2 to the images' side, {context.size}"
    check(mask_size <= context.size, "meaningful_perturbation", "mask_size", mask_size, expected)
    images, generators = context.images, context.generators(seed)
    blurred = median_filter(images, blur)
    mask = images.new_ones(len(images), mask_size, mask_size).requires_grad_()
    optimizer = torch.optim.Adam([mask], learning_rate)
    for _ in range(iterations):
        with torch.enable_grad():
            shown = torch.lerp(blurred, images, upsample(mask, context.size))
            if noise:
                shown = shown + noise * context.normal(generators)
            hidden = (1 - mask).abs().mean((1, 2))
            variation = sum(mask.diff(dim=axis).abs().pow(tv_power).mean((1, 2)) for axis in (1, 2))
            loss = l1 * hidden + tv * variation + context.chosen(context.probabilities(context.model(shown)))
            mask.grad = torch.autograd.grad(loss.sum(), mask)[0]
        optimizer.step()
        mask.data.clamp_(0, 1)
    return 1 - mask.detach()


def median_filter(images: Tensor, size: int) -> Tensor:
    """Return images (n, 3, s, s), each pixel the median of its ``size`` x ``size`` surroundings, borders replicated."""
    import torch
    from torch.nn import functional as F

    filtered = torch.empty_like(images)
    for i, image in enumerate(images):
        padded = F.pad(image[None], [size // 2] * 4, mode="replicate")[0]
        for channel, values in enumerate(padded):
            filtered[i, channel] = values.unfold(0, size, 1).unfold(1, size, 1).flatten(2).median(2).values
    return filtered
