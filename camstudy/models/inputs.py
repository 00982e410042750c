"""Prepare images for a network: timm's evaluation transform, whole batches at once if the images are square."""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import Box, crop_offsets, resized_crop, resized_sizes


def prepare(
    images: np.ndarray | torch.Tensor | Sequence[np.ndarray], config: Mapping, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Resize, crop and normalise images as timm does; returns float32 (n, 3, size, size) on ``device``.

    One antialiased resize to the size of `camstudy.core.geometry.resized_sizes`, rounded to whole grey
    levels as PIL does, then the centre crop or a border, then (x / 255 - mean) / std. A border is of the mean color
    with the crop mode ``border``, else black.

    Parameters
    ----------
    images : uint8 (n, side, side, 3), or a sequence of photographs, uint8 (h, w, 3) each, which are resized by
        PIL, one at a time in as many threads as there are cores, to the very pixels of timm
    config : ``size``, ``crop_pct``, ``crop_mode`` (center by default), ``interpolation`` (bilinear or bicubic),
        ``mean`` and ``std`` of the channels, as `camstudy.models.build.input_config` returns them
    device : where the work is done

    Raises
    ------
    ValueError
        for images of another dtype or shape.
    """
    if not isinstance(images, np.ndarray | torch.Tensor):
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            images = np.stack(list(pool.map(lambda index: _cropped(images[index], config), range(len(images)))))
        return _normalized(torch.from_numpy(images).to(device, non_blocking=True).permute(0, 3, 1, 2), config)
    images = torch.as_tensor(images)
    n, side = images.shape[:2]
    if images.dtype != torch.uint8 or images.shape != (n, side, side, 3):
        raise ValueError(f"images must be uint8 (n, side, side, 3), found {images.dtype} {tuple(images.shape)}")
    size = config["size"]
    resize, offset, _ = resized_crop(images.shape[1], size, config["crop_pct"])
    # A view, channels last in memory: the layout in which torchvision's uint8 code is fast.
    batch = images.to(device, non_blocking=True).permute(0, 3, 1, 2)
    batch = F.resize(batch, [resize, resize], InterpolationMode(config["interpolation"]), antialias=True)
    if resize < size:
        return _normalized(F.pad(batch, _border([resize, resize], config), fill=_fill(config)), config)
    return _normalized(F.crop(batch, offset, offset, size, size), config)


def prepare_as_authors(images: np.ndarray, config: Mapping, device: torch.device | str = "cpu") -> torch.Tensor:
    """Prepare square images as the code of arXiv 2408.03164 does; returns what `prepare` does.

    uint8 (n, side, side, 3) to 224x224 by `resize_as_tensorflow`, truncated to whole grey levels; then the model's own
    transform by PIL, which resizes again. For comparison with published numbers: it blurs, and the human map, which is
    not cut, is off by the centre crop.
    """
    if isinstance(images, Sequence) or images.ndim != 4 or images.shape[1] != images.shape[2]:
        raise CamstudyError("geometry: `authors` is defined for square images of one size; choose `aligned`")
    return prepare([resize_as_tensorflow(image, 224).astype(np.uint8) for image in images], config, device)


def resize_as_tensorflow(image: np.ndarray, size: int) -> np.ndarray:
    """Return a square image, (side, side, channels), resized as ``tf.image.resize`` does: float32 (size, size, ...).

    Bilinear without antialiasing, pixel centres at half-integers, borders replicated: a + (b - a) w in float32, between
    columns first and then between rows. So pixels that are equal stay what they are, to the bit, and grey levels can be
    truncated; weights (1 - w) a + w b leave some just below, and how many depends on threads and vector instructions.
    """
    side, one = len(image), np.float32(1)
    position = (np.arange(size, dtype=np.float32) + one / 2) * (np.float32(side) / np.float32(size)) - one / 2
    below = np.floor(position)
    weight = (position - below)[:, None]
    low, high = np.maximum(below, 0).astype(int), np.minimum(np.ceil(position), side - 1).astype(int)
    image = image.astype(np.float32)
    image = image[:, low] + (image[:, high] - image[:, low]) * weight
    return image[low] + (image[high] - image[low]) * weight[:, None]


def _normalized(batch: torch.Tensor, config: Mapping) -> torch.Tensor:
    return F.normalize(F.to_dtype(batch, torch.float32, scale=True), list(config["mean"]), list(config["std"]))


def _cropped(image: np.ndarray, config: Mapping) -> np.ndarray:
    """Return a photograph resized, with its centre cut out or a border around it, uint8 (size, size, 3)."""
    height, width = _resized_sizes(config, [image.shape[:2]])[0].tolist()
    resized = F.resize(Image.fromarray(image), [height, width], InterpolationMode(config["interpolation"]))
    if any(border := _border([height, width], config)):
        resized = F.pad(resized, border, fill=_fill(config))
    return np.asarray(F.center_crop(resized, [config["size"]]))


def _resized_sizes(config: Mapping, sizes: np.ndarray) -> np.ndarray:
    return resized_sizes(sizes, config["size"], config["crop_pct"], config.get("crop_mode", "center"))


def _border(resized: Sequence[int], config: Mapping) -> list[int]:
    """Return how many columns and rows a resized image lacks: left, top, right, bottom."""
    rows, columns = (max(config["size"] - side, 0) for side in resized)
    return [columns // 2, rows // 2, columns - columns // 2, rows - rows // 2]


def _fill(config: Mapping) -> list[int]:
    """Return the color of borders, three grey levels."""
    return [round(255 * value) if config.get("crop_mode") == "border" else 0 for value in config["mean"]]


def crop_boxes(config: Mapping, sizes: np.ndarray) -> np.ndarray:
    """Return what `prepare` keeps of photographs: boxes float64 (n, 4) as `crop_box`, in fractions of height and width.

    ``sizes`` are heights and widths of the photographs, (n, 2). A box reaches beyond its photograph where that gets a
    border.
    """
    resized = _resized_sizes(config, sizes)
    offset = crop_offsets(resized, config["size"])
    return np.concatenate([offset / resized, (offset + config["size"]) / resized], axis=1)


def crop_box(config: Mapping) -> Box:
    """Return what `prepare` keeps of a square image: (top, left, bottom, right) in fractions of its side."""
    _, _, box = resized_crop(config["size"], config["size"], config["crop_pct"])
    return box
