"""Where things are in an image: crop boxes in unit coordinates, and bilinear resampling of maps.

Every map is compared in the square that the model saw. A crop is recorded once, as a box
``(top, left, bottom, right)`` in fractions of the source image, and applied to human maps, boxes and
fixations alike.
"""

from functools import lru_cache
from typing import Any

import numpy as np

FULL = (0.0, 0.0, 1.0, 1.0)
COMPARISON_SIZE = (224, 224)

Box = tuple[float, float, float, float]


CROP_MODES = ("center", "squash", "border")


def resized_crop(source: int, size: int, crop_pct: float) -> tuple[int, int, Box]:
    """Return what timm's evaluation transform does to a square image: resize, crop offset, the box kept.

    Parameters
    ----------
    source : side of the square source image in pixels (the box does not depend on it beyond validity)
    size : side of the model's input in pixels
    crop_pct : share of the resized side that the centre crop keeps; above 1, the image gets a border

    Returns
    -------
    ``(resize, offset, box)``: side after resizing, first row and column kept, which is negative by the width of a
    border, and the crop box as fractions of the image, which then reaches beyond it.
    """
    if source < 1 or size < 1 or not crop_pct > 0 or np.floor(size / crop_pct) < 1:
        raise ValueError(f"impossible geometry: source {source}, size {size}, crop_pct {crop_pct}")
    resize = int(np.floor(size / crop_pct))
    offset = int(crop_offsets(np.int64(resize), size))
    low, high = offset / resize, (offset + size) / resize
    return resize, offset, (low, low, high, high)


def resized_sizes(sizes: np.ndarray, size: int, crop_pct: float, crop_mode: str = "center") -> np.ndarray:
    """Return to which heights and widths timm's evaluation transform resizes images, before it cuts or borders them.

    ``center`` gives the shorter side the length floor(size / crop_pct) and keeps the proportions, ``border`` does so
    with the longer side, and ``squash`` gives both sides this length.

    Parameters
    ----------
    sizes : heights and widths of the images, integers (n, 2)
    size : side of the model's input in pixels
    crop_pct : share of the resized side that the centre crop keeps
    crop_mode : one of `CROP_MODES`

    Returns
    -------
    int64 (n, 2), at least 1.
    """
    sizes, side = np.asarray(sizes, np.int64), int(np.floor(size / crop_pct))
    if crop_mode == "squash":
        return np.full_like(sizes, side)
    if crop_mode == "border":
        # As timm rounds, half to even, and in its order: by the ratio, which is rounded itself.
        return np.maximum(np.round(sizes / (sizes / side).max(axis=1, keepdims=True)).astype(np.int64), 1)
    # torchvision cuts fractions of the longer side off.
    return sizes * side // sizes.min(axis=1, keepdims=True)


def crop_offsets(resized: np.ndarray | np.integer, size: int) -> np.ndarray:
    """Return the first rows or columns of the centre that a crop of side ``size`` keeps; negative before a border."""
    return np.where(resized < size, -((size - resized) // 2), np.round((resized - size) / 2)).astype(np.int64)


def resample(maps: np.ndarray, size: tuple[int, int] = COMPARISON_SIZE, box: Box = FULL) -> np.ndarray:
    """Resample maps (..., h, w) bilinearly to (..., *size), looking only at ``box`` of their extent.

    Where the box reaches beyond the maps, as the view of a model that sees images in a border does, they are 0.
    Pixel centres lie at half-integers and borders are replicated, as in ``F.interpolate(mode="bilinear",
    align_corners=False, antialias=False)``, to which the full box is equal. Returns the input's float dtype
    (float32 for integers). Computed in float64, so that plateaus of a float32 map stay exact ties and a
    constant map stays constant.
    """
    maps = np.asarray(maps)
    dtype = maps.dtype if np.issubdtype(maps.dtype, np.floating) else np.float32
    rows = _weights(maps.shape[-2], size[0], box[0], box[2])
    columns = _weights(maps.shape[-1], size[1], box[1], box[3])
    return (rows @ maps.astype(np.float64) @ columns.T).astype(dtype)


def resample_in_boxes(maps: np.ndarray, boxes: np.ndarray, size: tuple[int, int] = COMPARISON_SIZE) -> np.ndarray:
    """Resample maps (n, h, w) as `resample` does, each in a box of its own: boxes (n, 4)."""
    if (boxes == boxes[:1]).all():
        return resample(maps, size, tuple(boxes[0]))
    return np.stack([resample(one, size, tuple(box)) for one, box in zip(maps, boxes, strict=True)])


def within(box: Box, outer: Box) -> Box:
    """Return ``box`` in fractions of ``outer``, both given in fractions of the same image.

    >>> within((0.25, 0.25, 0.75, 0.75), (0.0, 0.25, 1.0, 0.75))
    (0.25, 0.0, 0.75, 1.0)
    """
    top, left, bottom, right = outer
    rows, columns = bottom - top, right - left
    return ((box[0] - top) / rows, (box[1] - left) / columns, (box[2] - top) / rows, (box[3] - left) / columns)


def boxes_in_view(
    boxes: np.ndarray,
    source: np.ndarray | tuple[int, int],
    view: np.ndarray | Box,
    size: tuple[int, int] = COMPARISON_SIZE,
    *,
    clip: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Return where objects' boxes lie in the part of the image that the model saw, and how many are lost.

    Boxes are edges (top, left, bottom, right) in pixels: a box of the first row of pixels ends at bottom 1, and
    every edge is mapped alike, without rounding.

    Parameters
    ----------
    boxes : (n, k, 4) in pixels of the source images; unused places are negative
    source : height and width of the source images, for all or (n, 2)
    view : what the model saw in fractions of the image (top, left, bottom, right), for all or (n, 4)
    size : height and width that the view is resized to
    clip : whether boxes end where the view does, and those with less than one pixel left are dropped

    Returns
    -------
    ``(mapped, dropped)``: float64 (n, k, 4) in pixels of ``size``, all zero where there is no box; int64 (n,).
    """
    boxes = np.asarray(boxes, np.float64)
    if boxes.ndim != 3 or boxes.shape[2] != 4:
        raise ValueError(f"expected boxes (n, k, 4), found shape {boxes.shape}")
    there = (boxes >= 0).all(2)
    scale = np.tile(np.broadcast_to(np.asarray(source, np.float64), (len(boxes), 2)), 2)[:, None]
    view = np.broadcast_to(np.asarray(view, np.float64), (len(boxes), 4))[:, None]
    start, extent = np.tile(view[..., :2], 2), np.tile(view[..., 2:] - view[..., :2], 2)
    mapped = (boxes / scale - start) / extent * np.tile(np.asarray(size, np.float64), 2)
    kept: Any = there  # for numpy's types, it might be a scalar
    if clip:
        mapped = np.clip(mapped, 0, np.tile(np.asarray(size, np.float64), 2))
        # A pixel's worth in both directions, up to rounding.
        kept = there & ((mapped[..., 2:] - mapped[..., :2]) > 1 - 1e-9).all(2)
    return np.where(kept[..., None], mapped, 0.0), np.count_nonzero(there & ~kept, axis=1)


def points_in_view(points: np.ndarray, view: Box, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return where points lie in a part of an image, float64 (k, 2) in pixels of ``size``, and which lie inside (k,).

    Parameters
    ----------
    points : (k, 2), rows and columns in fractions of the image
    view : the part, in fractions of the image (top, left, bottom, right)
    size : height and width that the part is resized to; the centre of the first pixel is (0.5, 0.5)

    >>> points_in_view(np.array([[0.5, 0.5], [0.1, 0.5]]), (0.25, 0.0, 0.75, 1.0), (10, 20))
    (array([[ 5., 10.],
           [-3., 10.]]), array([ True, False]))
    """
    start, end = np.array(view[:2]), np.array(view[2:])
    found = (np.asarray(points, np.float64) - start) / (end - start) * size
    return found, ((found >= 0) & (found < size)).all(axis=1)


@lru_cache(maxsize=64)
def _weights(source: int, target: int, low: float, high: float) -> np.ndarray:
    """Return the (target, source) matrix of linear interpolation along one axis."""
    place = low + (np.arange(target) + 0.5) / target * (high - low)
    position = np.clip(place * source - 0.5, 0, source - 1)
    left = np.floor(position).astype(int)
    right = np.minimum(left + 1, source - 1)
    weights = np.zeros((target, source))
    weights[np.arange(target), left] += 1 - (position - left)
    weights[np.arange(target), right] += position - left
    weights[(place < 0) | (place > 1)] = 0
    weights.setflags(write=False)
    return weights
