"""Localisation: whether heatmaps lie on the objects, whose boxes are known.

Maps (n, H, W) and boxes (n, k, 4) are in the same geometry, the square that the model saw: maps resized to it,
boxes by `camstudy.core.geometry.boxes_in_view`, as edges (top, left, bottom, right) in pixels, all zero where an image
has fewer than k. Images without any box do not count, and their values mean nothing: see `has_boxes`. A
*degenerate* heatmap (constant, or with a non-finite value) is taken as zero everywhere.

A pixel belongs to a box when its centre lies in it.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from camstudy.core.scaling import min_max
from camstudy.metrics.components import best_overlaps, largest_boxes
from camstudy.metrics.faithfulness import FAMILY as FAITHFULNESS
from camstudy.metrics.registry import METRICS

FAMILY = "localization"
HITS = "box_hits"  # column of per-image scores that box accuracy is computed from
LEVELS = 255
IOU = 0.5


def has_boxes(boxes: np.ndarray) -> np.ndarray:
    """Return which images have a box, bool (n,): those that count."""
    return _present(np.asarray(boxes)).any(1)


def map_box(maps: np.ndarray) -> np.ndarray:
    """Return the box of each map (n, H, W): around the largest part that is above the map's mean, int64 (n, 4).

    Strictly above; parts are 4-connected, and the largest has the most pixels. Edges (top, left, bottom, right) in
    pixels, with the last row and column inside. All zero for a degenerate map.
    """
    maps = min_max(maps)
    return largest_boxes((maps > maps.mean((1, 2), keepdims=True)).astype(np.int32), 1)[:, 0]


def overlap(found: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes (..., 4) and (..., 4), broadcast; 0 where both are empty."""
    low, high = np.maximum(found[..., :2], boxes[..., :2]), np.minimum(found[..., 2:], boxes[..., 2:])
    both = np.maximum(high - low, 0).prod(-1)
    union = _area(found) + _area(boxes) - both
    return np.divide(both, union, out=np.zeros(np.shape(union)), where=union > 0)


def inside(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the pixels of each box: boxes (n, k, 4) to bool (n, k, *size)."""
    rows, columns = (np.arange(side) + 0.5 for side in size)
    in_rows = (boxes[..., 0, None] <= rows) & (rows < boxes[..., 2, None])
    in_columns = (boxes[..., 1, None] <= columns) & (columns < boxes[..., 3, None])
    return in_rows[..., :, None] & in_columns[..., None, :]


@METRICS.register(
    "localization_error",
    family=FAMILY,
    direction="down",
    range=(0.0, 1.0),
    level="image",
    label="Localisation error",
    source="Russakovsky et al. 2015 (arXiv 1409.0575); box of a map: Zolna et al. 2020 (arXiv 1805.08249)",
    needs=("map_box", "box"),
    unit="%",
    partial=True,
)
def localization_error(found: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return whether the map's box misses every object of the class, as bool (n,).

    1 - max_j 1[IoU(found, box j) > 0.5], strictly; ``found`` (n, 4) is the map's box: around the largest
    4-connected part of the map that is strictly above its mean, last row and column included. The class is taken
    as known.

    Edge cases: a degenerate heatmap has an empty box, an error.
    """
    return ~(overlap(found[:, None], boxes) > IOU).any(1)


@METRICS.register(
    "official_metric",
    family=FAMILY,
    direction="down",
    range=(0.0, 1.0),
    level="image",
    label="Official metric",
    source="Russakovsky et al. 2015 (arXiv 1409.0575), with top-1",
    needs=("map_box", "box", "correct"),
    unit="%",
    partial=True,
)
def official_metric(found: np.ndarray, boxes: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Return whether the class is not the model's first, or the map's box misses every object, as bool (n,).

    1 - max_j 1[IoU(found, box j) > 0.5] 1[top-1 correct]: the localisation error of a model that must also name
    the class; never below `localization_error`.

    Edge cases: as for `localization_error`.
    """
    return localization_error(found, boxes) | ~np.asarray(correct, bool)


@METRICS.register(
    "pixel_f1",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Pixel F1",
    source="Zolna et al. 2020 (arXiv 1805.08249); as in Zhang et al. 2023, Opti-CAM (arXiv 2301.07002)",
    needs=("heatmap", "box"),
    unit="%",
    partial=True,
)
def pixel_f1(maps: np.ndarray, boxes: np.ndarray, *, over_boxes: Literal["max", "mean"] = "max") -> np.ndarray:
    """Return the F1 score of the heatmap's mass and the object's box, the best of the boxes.

    With M the map scaled to [0, 1] and b the pixels of a box: P = sum(M b) / (sum M + 1e-6),
    R = sum(M b) / sum b, and 2 P R / (P + R + 1e-6). M is not binarised.

    ``over_boxes``: the best box, or the ``mean`` over boxes, often called F1a.

    Edge cases: a degenerate heatmap scores 0.
    """
    maps, boxes = _check(maps, boxes)
    mass = min_max(maps)
    scores = np.zeros(boxes.shape[:2])
    for box in range(boxes.shape[1]):
        pixels = inside(boxes[:, box], maps.shape[1:])
        hit, area = (mass * pixels).sum((1, 2)), pixels.sum((1, 2))
        precision, recall = hit / (mass.sum((1, 2)) + 1e-6), hit / np.maximum(area, 1)
        scores[:, box] = 2 * precision * recall / (precision + recall + 1e-6)
    if over_boxes == "max":
        return scores.max(1)
    return scores.sum(1) / np.maximum(_present(boxes).sum(1), 1)


@METRICS.register(
    "pointing_game",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Pointing game",
    source="Zhang et al. 2016 (arXiv 1608.00507); tolerance as in TorchRay (Fong et al. 2019, arXiv 1910.08485)",
    needs=("heatmap", "box"),
    unit="%",
    partial=True,
)
def pointing_game(
    maps: np.ndarray,
    boxes: np.ndarray,
    *,
    tolerance: float = 15,
    ties: Literal["mean", "any", "first"] = "mean",
    pixel: np.ndarray | None = None,
) -> np.ndarray:
    """Return whether the most salient pixel lies in a box or near one.

    1[the maximum lies in a box, or the centre of some pixel of a box is nearer than ``tolerance``], at 224x224 pixels
    and strictly. Without ``pixel``, the tolerance is in pixels of these; ``pixel`` is their height and width in others,
    float (n, 2), those of the photograph in TorchRay: 15 of 224 are some 22 pixels of a photograph of 500x375.

    ``ties``, where several pixels share the maximum: the ``mean`` gives the share of them that hit, float (n,);
    ``any`` of them may hit, or the ``first`` in row-major order counts, bool (n,).

    Edge cases: in a degenerate heatmap every pixel is a maximum, so that the mean is the share of the image within
    reach of a box. A nearly constant map wins by ``any``.
    """
    maps, boxes = _check(maps, boxes)
    if ties not in ("mean", "any", "first"):
        raise ValueError(f"ties must be mean, any or first, found {ties}")
    mass = min_max(maps)
    peaks = mass == mass.max((1, 2), keepdims=True)
    if ties == "first":
        chosen = peaks.reshape(len(peaks), -1).argmax(1)
        peaks = (np.arange(mass[0].size) == chosen[:, None]).reshape(mass.shape)
    hits = peaks & _near(boxes, maps.shape[1:], tolerance, np.ones((len(maps), 2)) if pixel is None else pixel)
    if ties == "mean":
        return hits.sum((1, 2)) / peaks.sum((1, 2))
    return hits.any((1, 2))


@METRICS.register(
    "pointing_game_exact",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Pointing game, exact",
    source="Zhang et al. 2016 (arXiv 1608.00507), without its tolerance",
    needs=("heatmap", "box"),
    unit="%",
    partial=True,
)
def pointing_game_exact(
    maps: np.ndarray, boxes: np.ndarray, *, ties: Literal["mean", "any", "first"] = "mean"
) -> np.ndarray:
    """Return whether the most salient pixel lies in a box: `pointing_game` with a tolerance of 0.

    1[the maximum lies in a box], at 224x224 pixels.

    ``ties``: as for `pointing_game`.

    Edge cases: in a degenerate heatmap every pixel is a maximum, so that the mean is the share of the image that the
    boxes cover.
    """
    return pointing_game(maps, boxes, tolerance=0, ties=ties)


@METRICS.register(
    "energy_pointing_game",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Energy pointing game",
    source="Wang et al. 2020, Score-CAM (arXiv 1910.01279)",
    needs=("heatmap", "box"),
    unit="%",
    partial=True,
)
def energy_pointing_game(
    maps: np.ndarray,
    boxes: np.ndarray,
    *,
    max_box_share: float | None = None,
    negative: Literal["min_max", "relu"] = "min_max",
) -> np.ndarray:
    """Return the share of the heatmap's mass that lies in the boxes.

    sum of S over the union of the boxes / (sum S + eps), eps = 2.2e-16, with S the map scaled to [0, 1].

    ``negative: relu`` takes S = max(0, map) instead, where negative values speak against the class.
    ``max_box_share``: images of which the boxes cover more are left out (NaN), 0.5 in Score-CAM's protocol.

    Edge cases: a degenerate heatmap scores 0; so does one without positive values under ``relu``.
    """
    maps, boxes = _check(maps, boxes)
    if negative not in ("min_max", "relu"):
        raise ValueError(f"negative must be min_max or relu, found {negative}")
    mass = min_max(maps)
    if negative == "relu":
        mass = np.where(mass.any((1, 2), keepdims=True), np.maximum(np.nan_to_num(maps.astype(np.float64)), 0), 0)
    union = inside(boxes, maps.shape[1:]).any(1)
    scores = (mass * union).sum((1, 2)) / (mass.sum((1, 2)) + np.finfo(float).eps)
    if max_box_share is None:
        return scores
    return np.where(union.mean((1, 2)) > max_box_share, np.nan, scores)


@METRICS.register(
    "saliency_metric",
    family=FAITHFULNESS,
    direction="down",
    range=(float(np.log(0.05)), np.inf),
    level="image",
    label="Saliency metric",
    source="Dabkowski and Gal 2017 (arXiv 1705.07857)",
    needs=("map_box_share", "crop_log_probability"),
    unit="nat",
)
def saliency_metric(share: np.ndarray, log_probability: np.ndarray) -> np.ndarray:
    """Return how small the heatmap's box is, against how well the class is recognised in it.

    log(clip(a, 0.05, 1)) - log p per image: a is the share of the image that the map's box covers (as for
    `localization_error`), p the probability of the explained class for the image cut to that box and
    resized to the model's input (bicubic). It needs the network, but no true boxes.

    Edge cases: a degenerate heatmap has an empty box: a = 0.05 and a black image. p = 0 in float64 gives a large
    finite value, since log p is computed from the logits.
    """
    share, log_probability = np.asarray(share, np.float64), np.asarray(log_probability, np.float64)
    if share.shape != log_probability.shape or not np.isfinite(log_probability).all() or (log_probability > 0).any():
        raise ValueError("expected box shares and finite log probabilities, at most 0, of one shape")
    return np.log(np.clip(share, 0.05, 1)) - log_probability


@METRICS.register(
    "box_accuracy",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="dataset",
    label="Box accuracy",
    source="Choe et al. 2020, MaxBoxAcc (arXiv 2001.07437)",
    needs=(HITS,),
    unit="%",
    partial=True,
)
def box_accuracy(hits: np.ndarray, *, iou: Sequence[float] = (IOU,)) -> float:
    """Return the share of images whose box is found at the one best threshold for the dataset (MaxBoxAcc).

    max over t of mean_i 1[max_j IoU(box of map i above t, box j) >= 0.5], for 255 thresholds t; with several
    values of ``iou``, the mean of one maximum for each. ``hits``, integers (n, 255), come from `box_hits` with the
    same ``iou``. The box of a map above t, scaled to grey levels 0 to 255 (truncated), is around its largest
    4-connected part above level t, or under ``components: all`` each of its parts has one, of which the best counts,
    as in the authors' second version (MaxBoxAccV2, with IoU 0.3, 0.5 and 0.7). Their thousand thresholds come down to
    these levels.

    Edge cases: the threshold is tuned on the images that are evaluated, so that intervals repeat the maximum in
    each resample. A degenerate heatmap has no box at any threshold. Images without boxes do not count. The authors'
    code resizes maps bicubically, unites pixels that touch at corners, measures parts by their contours, and makes
    boxes one pixel larger. Its contours include those of holes: the largest has the area of the part with its holes,
    and among all there is a box around each hole, a pixel wider on each side, that no part has.
    """
    hits = np.asarray(hits)
    if hits.ndim != 2 or len(hits) == 0:
        raise ValueError(f"expected hits (n, thresholds) of at least one image, found shape {hits.shape}")
    return float(np.mean([(hits > reached).mean(0).max() for reached in range(len(iou))]))


def box_hits(
    maps: np.ndarray,
    boxes: np.ndarray,
    *,
    iou: Sequence[float] = (IOU,),
    components: Literal["largest", "all"] = "largest",
) -> np.ndarray:
    """Return how many of the ``iou`` levels each map reaches at each threshold, uint8 (n, 255): see `box_accuracy`."""
    maps, boxes = _check(maps, boxes)
    grey = (min_max(maps) * LEVELS).astype(np.int32)
    if components == "all":
        best = best_overlaps(grey, LEVELS, boxes)
    else:
        found = largest_boxes(grey, LEVELS)
        best = np.zeros(found.shape[:2])
        for box in range(boxes.shape[1]):
            best = np.maximum(best, overlap(found, boxes[:, None, box]))
    return (best[..., None] >= np.asarray(iou)).sum(-1).astype(np.uint8)


def _near(boxes: np.ndarray, size: tuple[int, int], tolerance: float, pixel: np.ndarray) -> np.ndarray:
    """Return the pixels (n, *size) that are in a box, or nearer than ``tolerance`` to a pixel of one.

    ``pixel`` (n, 2) is the height and width of a pixel, in the unit of the tolerance.
    """
    height, width = np.asarray(pixel, np.float64).T[..., None]
    near = np.zeros((len(boxes), *size), bool)
    for box in range(boxes.shape[1]):
        pixels = inside(boxes[:, box], size)
        # A box is a product of rows and columns, and so are the distances to it.
        rows, columns = (_distance(pixels.any(axis)) for axis in (2, 1))
        squared = (rows * height)[:, :, None] ** 2 + (columns * width)[:, None, :] ** 2
        near |= (squared < tolerance**2) | (squared == 0)
    return near


def _distance(members: np.ndarray) -> np.ndarray:
    """Return how far each place is from the nearest member of its row: bool (n, side) to float64, inf without any."""
    places = np.arange(members.shape[1])
    low = np.where(members, places, np.inf).min(1, keepdims=True)
    high = np.where(members, places, -np.inf).max(1, keepdims=True)
    return np.maximum(np.maximum(low - places, places - high), 0)


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _present(boxes: np.ndarray) -> np.ndarray:
    return boxes.any(2)


def _check(maps: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maps, boxes = np.asarray(maps), np.asarray(boxes, np.float64)
    if maps.ndim != 3 or boxes.ndim != 3 or boxes.shape[2] != 4 or len(maps) != len(boxes):
        raise ValueError(f"expected maps (n, H, W) and boxes (n, k, 4), found {maps.shape} and {boxes.shape}")
    if not (boxes[..., 2:] >= boxes[..., :2]).all():
        raise ValueError("boxes must be (top, left, bottom, right); one ends before it begins")
    return maps, boxes
