"""Where things are in an image: crop boxes in unit coordinates, and bilinear resampling of maps.

Every map is compared in the square that the model saw. A crop is recorded once, as a box
``(top, left, bottom, right)`` in fractions of the source image, and applied to human maps, boxes and
fixations alike.
"""

from functools import lru_cache

import numpy as np

FULL = (0.0, 0.0, 1.0, 1.0)
COMPARISON_SIZE = (224, 224)

Box = tuple[float, float, float, float]


def resized_crop(source: int, size: int, crop_pct: float) -> tuple[int, int, Box]:
    """Return what timm's evaluation transform does to a square image: resize, crop offset, the box kept.

    Parameters
    ----------
    source : side of the square source image in pixels (the box does not depend on it beyond validity)
    size : side of the model's input in pixels
    crop_pct : share of the resized side that the centre crop keeps, in (0, 1]

    Returns
    -------
    ``(resize, offset, box)``: side after resizing, first row and column kept, and the crop box as fractions.
    """
    if source < 1 or size < 1 or not 0 < crop_pct <= 1:
        raise ValueError(f"impossible geometry: source {source}, size {size}, crop_pct {crop_pct}")
    resize = max(size, int(np.floor(size / crop_pct)))
    offset = round((resize - size) / 2)
    low, high = offset / resize, (offset + size) / resize
    return resize, offset, (low, low, high, high)


def resample(maps: np.ndarray, size: tuple[int, int] = COMPARISON_SIZE, box: Box = FULL) -> np.ndarray:
    """Resample maps (..., h, w) bilinearly to (..., *size), looking only at ``box`` of their extent.

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


@lru_cache(maxsize=64)
def _weights(source: int, target: int, low: float, high: float) -> np.ndarray:
    """Return the (target, source) matrix of linear interpolation along one axis."""
    position = (low + (np.arange(target) + 0.5) / target * (high - low)) * source - 0.5
    position = np.clip(position, 0, source - 1)
    left = np.floor(position).astype(int)
    right = np.minimum(left + 1, source - 1)
    weights = np.zeros((target, source))
    weights[np.arange(target), left] += 1 - (position - left)
    weights[np.arange(target), right] += position - left
    weights.setflags(write=False)
    return weights
