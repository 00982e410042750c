"""Prepare images for a network: timm's evaluation transform for square images, whole batches at once."""

from collections.abc import Mapping

import numpy as np
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from camstudy.geometry import Box, resized_crop


def prepare(images: np.ndarray | torch.Tensor, config: Mapping, device: torch.device | str = "cpu") -> torch.Tensor:
    """Resize, crop and normalise images as timm does; returns float32 (n, 3, size, size) on ``device``.

    One antialiased resize from the original to floor(size / crop_pct), rounded to whole grey levels as PIL
    does, then the centre crop of `camstudy.geometry.resized_crop`, then (x / 255 - mean) / std.

    Parameters
    ----------
    images : uint8 (n, side, side, 3)
    config : ``size``, ``crop_pct``, ``interpolation`` (bilinear or bicubic), ``mean`` and ``std`` of the
        channels, as `camstudy.models.build.input_config` returns them
    device : where the work is done

    Raises
    ------
    ValueError
        for images of another dtype or shape.
    """
    images = torch.as_tensor(images)
    n, side = images.shape[:2]
    if images.dtype != torch.uint8 or images.shape != (n, side, side, 3):
        raise ValueError(f"images must be uint8 (n, side, side, 3), found {images.dtype} {tuple(images.shape)}")
    size = config["size"]
    resize, offset, _ = resized_crop(images.shape[1], size, config["crop_pct"])
    # A view, channels last in memory: the layout in which torchvision's uint8 code is fast.
    batch = images.to(device, non_blocking=True).permute(0, 3, 1, 2)
    batch = F.resize(batch, [resize, resize], InterpolationMode(config["interpolation"]), antialias=True)
    batch = F.crop(batch, offset, offset, size, size)
    return F.normalize(F.to_dtype(batch, torch.float32, scale=True), list(config["mean"]), list(config["std"]))


def crop_box(config: Mapping) -> Box:
    """Return what `prepare` keeps of a square image: (top, left, bottom, right) in fractions of its side."""
    _, _, box = resized_crop(config["size"], config["size"], config["crop_pct"])
    return box
