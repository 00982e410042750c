"""Maps that know nothing of the class, run like methods: what a metric must tell from an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from camstudy.explain.parameters import at_least
from camstudy.explain.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

    from camstudy.explain.context import Context


@METHODS.register("fake_cam", needs="model", resolution="input", source="Poppi et al. 2021, arXiv 2104.10252")
def fake_cam(context: Context) -> Tensor:
    """Return 1 everywhere but for the top-left pixel, which is 0; the same for every image and class.

    At the input's resolution and already in [0, 1]: as a mask it hides one pixel, so that average drop is near 0 and
    about half of the images gain confidence.
    """
    maps = context.images.new_ones(len(context.images), context.size, context.size)
    maps[:, 0, 0] = 0
    return maps


@METHODS.register(
    "random_cam",
    needs="model",
    source="random channel weights, as RandomCAM of pytorch-grad-cam",
    allowed={"seed": at_least(0)},
)
def random_cam(context: Context, *, seed: int = 0) -> Tensor:
    """Return ReLU(sum_k w_k A_k), values >= 0, w_k drawn from U(-1, 1) for each image by (seed, image number)."""
    import torch

    activations = context.activations
    generators = (np.random.default_rng(np.random.SeedSequence([seed, int(number)])) for number in context.numbers)
    weights = np.stack([generator.uniform(-1, 1, activations.shape[1]) for generator in generators])
    return torch.einsum("nk,nkhw->nhw", torch.from_numpy(weights).to(activations), activations).relu()
