"""NeVA and FovEx: scanpaths of a foveated eye that keeps the network's decision, and the maps that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from camstudy.explain.parameters import above, at_least, check, odd
from camstudy.explain.registry import METHODS, MapArray

if TYPE_CHECKING:
    from torch import Tensor

    from camstudy.explain.context import Context

ARRAYS = {
    "scanpath": MapArray("float32", ("step", "row_column"), {"step": "fixations", "row_column": 2}),
    "loss": MapArray("float32", ("step",), {"step": "fixations"}),
    "weight": MapArray("float32", ("step",), {"step": "fixations"}),
}
ALLOWED = {
    **dict.fromkeys(("fixations", "steps", "side"), at_least(1)),
    **dict.fromkeys(("learning_rate", "fovea_size", "heat_size", "blur_sigma"), above(0)),
    **dict.fromkeys(("forgetting", "seed"), at_least(0)),
    "blur_size": odd(),
}


@METHODS.register(
    "fovex",
    needs="model",
    divided=True,
    resolution="side",
    source="Panda et al. 2025, arXiv 2408.02123, and its code, mahadev1995/FovEx",
    arrays=ARRAYS,
    allowed=ALLOWED,
)
def fovex(
    context: Context,
    *,
    fixations: int = 10,
    steps: int = 20,
    learning_rate: float = 0.1,
    fovea_size: float = 0.15,
    forgetting: float = 0.1,
    blur_size: int = 41,
    blur_sigma: float = 10.0,
    random_restart: bool = True,
    released_offset: bool = False,
    heat_size: float = 0.15,
    factors: Sequence[float] = (),
    side: int = 56,
    seed: int = 0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the map H_T of T fixations, values >= 0, and beside it ``scanpath``, ``loss`` and ``weight``.

    Places z and points p are in [-1, 1]², from border to border. The network sees the image x near points p, elsewhere
    b, x blurred by a Gaussian: x' = x + (b - x) clip(1 - R - G(p), 0, 1), with G(p) = exp(-|z - p|² / s). For each
    fixation, from the center on: the loss l, -log p_c(x'), is measured at p, and p becomes p - lr sign(dl/dp). If l is
    not below all before, p is drawn anew from U(-1, 1)². After n steps, p* is the point of the lowest loss, and R
    becomes ``forgetting`` x R + G(p*), from R = 0. Then H_i = a_i H_(i-1) + exp(-|z - p*_i|² / h), so that a step's
    weight is the product of the factors a after its own. Points are not kept within the image. One forward and backward
    pass to the input for each of the n T steps.

    A fixation of which no loss is a finite number is not taken: NaN, and nothing is drawn or remembered of it.

    What is drawn for a step of a fixation depends on the seed, the image's number and the step alone. Where the code
    places pixel centers from border to border, here they are half a pixel within it.

    Parameters
    ----------
    fixations, steps, learning_rate : T, n and lr
    fovea_size, heat_size : s and h, twice the variance
    blur_size, blur_sigma : side of the Gaussian's kernel, odd, and its standard deviation, in pixels; borders reflected
    random_restart : otherwise p is moved by U(-lr / 2, lr / 2)² instead of being drawn anew
    released_offset : keep, as the code does, the point after the step that followed the lowest loss, not the point at
        which that was measured
    factors : a_i, one for each fixation; by default 1. The first has no effect
    side : of the map
    """
    eye = Eye(fovea_size, forgetting, blur_size, blur_sigma)
    search = Search(fixations, steps, learning_rate, random_restart, released_offset, seed)
    return _explained("fovex", context, eye, search, heat_size=heat_size, factors=factors, side=side)


@METHODS.register(
    "neva",
    needs="model",
    divided=True,
    resolution="side",
    source="Schwinn et al. 2022, arXiv 2204.09093, and its code",
    arrays=ARRAYS,
    allowed=ALLOWED,
)
def neva(
    context: Context,
    *,
    fixations: int = 10,
    steps: int = 20,
    learning_rate: float = 0.1,
    fovea_size: float = 0.15,
    forgetting: float = 0.1,
    blur_size: int = 5,
    blur_sigma: float = 5.0,
    random_restart: bool = False,
    released_offset: bool = False,
    heat_size: float = 0.15,
    factors: Sequence[float] = (),
    side: int = 56,
    seed: int = 0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the map of a scanpath, values >= 0, and beside it ``scanpath``, ``loss`` and ``weight``.

    As `fovex`, whose parameters these are, with a weaker blur; a point whose loss is not below all before is moved a
    little instead of being drawn anew.
    """
    eye = Eye(fovea_size, forgetting, blur_size, blur_sigma)
    search = Search(fixations, steps, learning_rate, random_restart, released_offset, seed)
    return _explained("neva", context, eye, search, heat_size=heat_size, factors=factors, side=side)


@dataclass(frozen=True)
class Eye:
    """What is seen at once and remembered: parameters of `fovex` by these names."""

    fovea_size: float
    forgetting: float
    blur_size: int
    blur_sigma: float

    def foveas(self, points: Tensor, size: int) -> Tensor:
        """Return G(p) of points (n, 2) in [-1, 1]², (n, size, size); differentiable."""
        import torch

        centers = ((2 * torch.arange(size, device=points.device) + 1) / size - 1).to(points)
        rows, columns = ((-(points[:, axis, None] - centers).square() / self.fovea_size).exp() for axis in range(2))
        return rows[:, :, None] * columns[:, None]

    def blurred(self, images: Tensor) -> Tensor:
        """Return images (n, 3, s, s) convolved with the Gaussian, borders reflected."""
        import torch
        from torch.nn import functional as F

        offset = torch.arange(self.blur_size, device=images.device).to(images) - self.blur_size // 2
        profile = (-0.5 * (offset / self.blur_sigma).square()).exp()
        profile = (profile / profile.sum()).expand(images.shape[1], 1, 1, -1)
        padded = F.pad(images, [self.blur_size // 2] * 4, mode="reflect")
        rows = F.conv2d(padded, profile, groups=images.shape[1])
        return F.conv2d(rows, profile.mT, groups=images.shape[1])

    def view(self, images: Tensor, blurred: Tensor, seen: Tensor) -> Tensor:
        """Return x' for ``seen`` (n, s, s), what is remembered plus what the fovea shows."""
        import torch

        return torch.lerp(images, blurred, (1 - seen).clamp(0, 1)[:, None])


@dataclass(frozen=True)
class Search:
    """How the points are found: parameters of `fovex` by these names."""

    fixations: int
    steps: int
    learning_rate: float
    random_restart: bool
    released_offset: bool
    seed: int

    def __call__(self, context: Context, eye: Eye) -> tuple[Tensor, Tensor]:
        """Return points (n, T, 2) in [-1, 1]² and their losses (n, T)."""
        import torch

        images, shape = context.images, (self.fixations, self.steps, 2)
        # Drawn whether needed or not, so that no image's numbers hang on another, and the device is not waited for.
        kind = {"device": images.device, "dtype": images.dtype}
        draws = [torch.rand(shape, generator=one, **kind) for one in context.generators(self.seed)]
        draws = torch.stack(draws, 2)  # (T, n steps, images, 2)
        blurred = eye.blurred(images)
        remembered = images.new_zeros(len(images), context.size, context.size)
        points, losses = [], []
        for drawn in draws:
            best, loss = self._fixate(context, eye, blurred, remembered, drawn)
            # Of a fixation that was not taken, nothing.
            remembered = eye.forgetting * remembered + eye.foveas(best, context.size).nan_to_num(0)
            points.append(best)
            losses.append(loss)
        return torch.stack(points, 1), torch.stack(losses, 1)

    def _fixate(
        self, context: Context, eye: Eye, blurred: Tensor, remembered: Tensor, draws: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the best points (n, 2) of the next fixation and their losses (n,), with draws (steps, n, 2).

        Both are NaN where no loss is a finite number.
        """
        import torch

        point = context.images.new_zeros(len(context.images), 2)
        # Left as it is where no loss is a number, so that no map of nothing shows the center.
        best, lowest = torch.full_like(point, torch.nan), point.new_full((len(point),), torch.inf)
        for draw in draws:
            with torch.enable_grad():
                leaf = point.detach().requires_grad_()
                seen = remembered + eye.foveas(leaf, context.size)
                loss = losses(context, context.model(eye.view(context.images, blurred, seen)))
                gradient = torch.autograd.grad(loss.sum(), leaf)[0]
            loss = loss.detach()
            moved = point - self.learning_rate * gradient.sign()
            better = loss < lowest
            lowest = torch.where(better, loss, lowest)
            best = torch.where(better[:, None], moved if self.released_offset else point, best)
            again = 2 * draw - 1 if self.random_restart else moved + self.learning_rate * (draw - 0.5)
            point = torch.where(better[:, None], moved, again)
        return best, torch.where(lowest.isinf(), torch.nan, lowest)


def losses(context: Context, logits: Tensor) -> Tensor:
    """Return -log p_c (n,) of the explained classes for logits (n, classes), by what the model's head means."""
    from camstudy.models.probabilities import log_probabilities

    return -context.chosen(log_probabilities(logits, context.head))


def _explained(
    name: str,
    context: Context,
    eye: Eye,
    search: Search,
    *,
    heat_size: float,
    factors: Sequence[float],
    side: int,
) -> tuple[Tensor, dict[str, Tensor]]:
    import torch

    from camstudy.explain.fixations import drawn

    expected = f"below twice the images' side, {context.size}, as borders are reflected"
    check(eye.blur_size < 2 * context.size, name, "blur_size", eye.blur_size, expected)
    numbers = all(isinstance(factor, int | float) and not isinstance(factor, bool) for factor in factors)
    fits = numbers and len(factors) in (0, search.fixations)
    check(fits, name, "factors", factors, f"{search.fixations} numbers, or none")
    points, lowest = search(context, eye)
    after = np.array([*factors[1:], 1.0] if factors else np.ones(search.fixations))
    weight = lowest.new_tensor(np.cumprod(after[::-1])[::-1].copy()).expand_as(lowest)
    path = ((points + 1) / 2).float()  # as stored, so that the map can be drawn again from what is there
    maps = drawn(path.cpu().numpy(), weight.float().cpu().numpy(), heat_size=heat_size, side=side)
    return torch.from_numpy(maps).to(context.images), {"scanpath": path, "loss": lowest, "weight": weight}
