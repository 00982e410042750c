"""What methods that ask the model get to work with, and the operations on masks that they share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.explain.layers import TargetLayer, to_nchw
from camstudy.models.probabilities import Head, probabilities


@dataclass(frozen=True)
class Context:
    """Batch of n images with the model that is explained and the class that is explained of each.

    ``model`` is in evaluation mode with constant parameters; methods are called without gradients recorded and
    leave it as it is. ``images`` (n, 3, s, s) are as the model expects them; ``black`` (1, 3, 1, 1) is what a black
    pixel is to it. ``output`` is what the target ``layer`` returns, in ``layout``; ``logits`` (n, classes) are the
    model's, ``target`` (n,) the classes, ``numbers`` the images' positions in the dataset, from which random methods
    are seeded. A method gives the model at most ``batch_size`` images at once. ``head`` says what logits mean.
    """

    model: nn.Module
    layer: TargetLayer
    images: Tensor
    black: Tensor
    output: Tensor
    layout: str
    logits: Tensor
    target: Tensor
    numbers: Sequence[int]
    batch_size: int
    head: Head = "softmax"

    @property
    def activations(self) -> Tensor:
        """Output of the target layer as (n, C, h, w)."""
        return to_nchw(self.output, self.layout)

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return self.images.shape[-1]

    def chosen(self, logits: Tensor) -> Tensor:
        """Return the logits (n,) of the explained classes among logits or probabilities (n, classes)."""
        return logits.gather(1, self.target[:, None])[:, 0]

    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probabilities (n, classes) that logits mean: softmax, or of a sigmoid head that of each class."""
        return probabilities(logits, self.head)

    def masked(self, masks: Tensor, images: Tensor) -> Tensor:
        """Return images whose pixels are multiplied by masks in [0, 1]; see `mask_pixels`."""
        return mask_pixels(images, masks, self.black)

    def generators(self, seed: int) -> list[torch.Generator]:
        """Return a generator for each image on the device, seeded by (seed, image number) alone."""
        states = (np.random.SeedSequence([seed, int(number)]).generate_state(2) for number in self.numbers)
        seeds = [int(high) << 31 | int(low) >> 1 for high, low in states]
        return [torch.Generator(self.images.device).manual_seed(each) for each in seeds]

    def normal(self, generators: Sequence[torch.Generator]) -> Tensor:
        """Return standard normal noise of the images' shape, each image's from its own generator."""
        shape, kind = self.images.shape[1:], {"device": self.images.device, "dtype": self.images.dtype}
        return torch.stack([torch.randn(shape, generator=generator, **kind) for generator in generators])


def black_pixel(mean: Sequence[float], std: Sequence[float], like: Tensor) -> Tensor:
    """Return what a black pixel is after normalisation, (1, channels, 1, 1), with the type and device of images."""
    mean, std = (torch.tensor(values, dtype=like.dtype, device=like.device) for values in (mean, std))
    return (-mean / std).reshape(1, -1, 1, 1)


def mask_pixels(images: Tensor, masks: Tensor, black: Tensor) -> Tensor:
    """Return images whose pixels are multiplied by masks in [0, 1], before normalisation: 0 is black.

    Normalisation is affine, so that N(x m) = N(0) + m (N(x) - N(0)).
    """
    return torch.lerp(black, images, masks)


def upsample(maps: Tensor, size: int, *, align_corners: bool = False) -> Tensor:
    """Return maps (n, h, w) as (n, 1, size, size), resized bilinearly with pixel centres at half-integers."""
    return F.interpolate(maps[:, None], (size, size), mode="bilinear", align_corners=align_corners)


def min_max(maps: Tensor) -> Tensor:
    """Return maps (n, ..., h, w) scaled to [0, 1], each on its own; constant ones become 0. Differentiable."""
    low = maps.amin((-2, -1), keepdim=True)
    span = maps.amax((-2, -1), keepdim=True) - low
    return (maps - low) / torch.where(span > 0, span, 1)
