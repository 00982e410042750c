"""Extremal perturbation: the smooth mask of a given area that keeps the explained class best."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from camstudy.explain.registry import METHODS, check

if TYPE_CHECKING:
    from torch import Tensor

    from camstudy.explain.context import Context

COLDNESS = 20  # of the pooling of neighbouring cells
GROWTH = 1.0035  # of the weight of the area, per step
MOMENTUM = 0.9  # and dampening


@METHODS.register(
    "extremal_perturbation",
    needs="model",
    divided=True,
    resolution="input",
    source="Fong et al. 2019, arXiv 1910.08485; values of facebookresearch/TorchRay",
)
def extremal_perturbation(
    context: Context,
    *,
    area: float = 0.1,
    iterations: int = 800,
    learning_rate: float = 0.01,
    step: int = 7,
    sigma: float = 21.0,
    levels: int = 8,
    max_blur: float = 20.0,
    area_weight: float = 300.0,
) -> Tensor:
    """Return the mask m, values in [0, 1], that keeps the logit of class c highest with the share ``area`` near 1.

    m is made by `SmoothMask` from cells ``step`` pixels apart, which start at 1. Where m is 1 the image is shown, where
    it is 0 the image blurred by a Gaussian of standard deviation ``max_blur``; in between, ``levels`` blurred images
    are interpolated. Maximised: the logit minus ``area_weight`` x 1.0035^t x mean((sort(m) - r)²), where r is 0 for
    the lowest share 1 - area and 1 above, by gradient ascent with momentum and dampening 0.9; cells are clipped to
    [0, 1] after each step, and at every second step t, from the first on, the image is shown mirrored. One forward and
    backward pass to the input per step.
    """
    import torch

    name = "extremal_perturbation"
    check(0 < area < 1, name, "area", area, "above 0 and below 1")
    check(iterations >= 1, name, "iterations", iterations, "at least 1")
    check(1 <= step <= context.size, name, "step", step, f"from 1 to the side of the images, {context.size}")
    check(levels >= 2, name, "levels", levels, "at least 2")
    for parameter, value in (("learning_rate", learning_rate), ("sigma", sigma), ("max_blur", max_blur)):
        check(value > 0, name, parameter, value, "above 0")
    check(area_weight >= 0, name, "area_weight", area_weight, "at least 0")
    n, pixels = len(context.images), context.size**2
    smooth = SmoothMask(context.size, step, sigma, context.images)
    pyramid = torch.stack([blur(context.images, max_blur * (1 - i / (levels - 1))) for i in range(levels)], 1)
    reference = (torch.arange(pixels, device=context.images.device) >= round(pixels * (1 - area))).to(context.images)
    cells = context.images.new_ones(n, smooth.cells, smooth.cells)
    velocity = None
    for t in range(iterations):
        with torch.enable_grad():
            cells.requires_grad_()
            masks = smooth(cells)
            shown = interpolate(pyramid, masks)
            logit = context.chosen(context.model(shown.flip(3) if t % 2 == 0 else shown))
            distance = (masks.flatten(1).sort(1).values - reference).square().mean(1)
            energy = area_weight * GROWTH**t * distance - logit
            gradient = torch.autograd.grad(energy.sum(), cells)[0]
        # The first step is not dampened, as in torch's SGD.
        velocity = gradient if velocity is None else MOMENTUM * velocity + (1 - MOMENTUM) * gradient
        cells = (cells.detach() - learning_rate * velocity).clamp(0, 1)
    return smooth(cells)


class SmoothMask:
    """Masks (n, size, size) from cells (n, cells, cells): m(p) pools k(|p - q| / sigma) c(q) over cells q around p.

    Cells lie ``step`` pixels apart from the pixel 0 on; beyond the last one they are 0. k(d) = exp(-2 max(0, d - .5)²).
    Pooled are the cells at most 1 + ceil(sigma / step) cells off, along each axis, from the one at or before p, by
    sum v exp(20 v) / sum exp(20 v), a smooth maximum.
    """

    def __init__(self, size: int, step: int, sigma: float, like: Tensor) -> None:
        import torch

        self.size, self.step, self.cells = size, step, math.ceil(size / step)
        self.radius = 1 + math.ceil(sigma / step)
        position = torch.arange(size, device=like.device)
        offset = torch.arange(-self.radius, self.radius + 1, device=like.device)
        # Distance of each pixel from its neighbouring cells along one axis: (offsets, size).
        along = (position - step * (position // step + offset[:, None])).to(like)
        distance = (along[:, None, :, None].square() + along[None, :, None, :].square()).sqrt() / sigma
        self.kernel = (-2 * (distance - 0.5).clamp(min=0).square()).exp().flatten(0, 1)

    def __call__(self, cells: Tensor) -> Tensor:
        """Return masks for cells; differentiable."""
        from torch.nn import functional as F

        width = 2 * self.radius + 1
        near = F.unfold(cells[:, None], width, padding=self.radius).unflatten(2, (self.cells, self.cells))
        near = F.interpolate(near, scale_factor=self.step, mode="nearest")[..., : self.size, : self.size]
        values = self.kernel * near
        return (values * (COLDNESS * values).softmax(1)).sum(1)


def interpolate(pyramid: Tensor, masks: Tensor) -> Tensor:
    """Return images (n, 3, s, s), pixel by pixel between the levels (n, levels, 3, s, s) that masks in [0, 1] say."""
    import torch

    position = masks * (pyramid.shape[1] - 1)
    # The level below; at 1 the last but one, so that the gradient there points down the pyramid.
    low = position.detach().floor().clamp(max=pyramid.shape[1] - 2)
    index = low.long()[:, None, None]
    lower, upper = (torch.take_along_dim(pyramid, index + above, 1)[:, 0] for above in (0, 1))
    return torch.lerp(lower, upper, (position - low)[:, None])


def blur(images: Tensor, sigma: float) -> Tensor:
    """Return images convolved with a Gaussian, cut off at 4 sigma, borders replicated; 0 leaves them as they are."""
    import torch
    from torch.nn import functional as F

    radius = math.ceil(4 * sigma)
    if not radius:
        return images
    offset = torch.arange(-radius, radius + 1, device=images.device).to(images)
    profile = (-0.5 * (offset / sigma).square()).exp()
    profile = (profile / profile.sum()).expand(images.shape[1], 1, 1, -1)
    padded = F.pad(images, [radius] * 4, mode="replicate")
    rows = F.conv2d(padded, profile, groups=images.shape[1])
    return F.conv2d(rows, profile.mT, groups=images.shape[1])
