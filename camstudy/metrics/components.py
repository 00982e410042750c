"""The largest connected component above every grey level of a map, and the tight box around it, in one sweep.

Pixels join from the brightest level down, and components that meet are united (Tarjan 1975), so that all levels
cost little more than one.
"""

import numba
import numpy as np


def largest_boxes(levels: np.ndarray, count: int) -> np.ndarray:
    """Return the box around the largest component of ``levels > t`` for t = 0 .. count - 1, int64 (n, count, 4).

    Components are 4-connected, the largest has the most pixels; of equal ones, the one that comes first in
    row-major order. Boxes are edges (top, left, bottom, right): that of a single pixel in row 2, column 5 is
    (2, 5, 3, 6). All zero where no pixel is above a level.

    Parameters
    ----------
    levels : integers (n, h, w) from 0 to ``count``

    >>> largest_boxes(np.array([[[1, 0, 2], [0, 1, 1]]]), 2).tolist()
    [[[0, 1, 2, 3], [0, 2, 1, 3]]]
    """
    return _sweep_all(_checked(levels, count), count)


def best_overlaps(levels: np.ndarray, count: int, boxes: np.ndarray) -> np.ndarray:
    """Return the best intersection over union of a component's box with a given one, float64 (n, count).

    At each t = 0 .. count - 1, of all components of ``levels > t`` and all given boxes; 0 where there is neither.

    Parameters
    ----------
    levels, count : as for `largest_boxes`
    boxes : (n, k, 4), edges (top, left, bottom, right) in pixels, all zero where an image has fewer than k

    >>> best_overlaps(np.array([[[1, 0, 2], [0, 1, 1]]]), 2, np.array([[[0, 0, 1, 1]]])).tolist()
    [[1.0, 0.0]]
    """
    levels = _checked(levels, count)
    best = np.zeros((len(levels), count))
    for image, one in enumerate(levels):
        _overlaps(one, count, np.asarray(boxes[image], np.float64), best[image])
    return best


def _checked(levels: np.ndarray, count: int) -> np.ndarray:
    levels = np.asarray(levels)
    if levels.ndim != 3 or not np.issubdtype(levels.dtype, np.integer):
        raise ValueError(f"expected integers (n, h, w), found {levels.dtype} {levels.shape}")
    if levels.size and (levels.min() < 0 or levels.max() > count):
        raise ValueError(f"expected levels from 0 to {count}, found {levels.min()} to {levels.max()}")
    return np.ascontiguousarray(levels, np.int32)


@numba.njit(cache=True, nogil=True)
def _sweep_all(levels: np.ndarray, count: int) -> np.ndarray:
    boxes = np.zeros((len(levels), count, 4), np.int64)
    for image in range(len(levels)):
        _sweep(levels[image], count, boxes[image])
    return boxes


@numba.njit(cache=True, nogil=True)
def _sweep(levels: np.ndarray, count: int, boxes: np.ndarray) -> None:
    order, edges = _by_level(levels, count)
    parent = np.full(levels.size, -1)  # of a component's pixels; its root holds the facts
    size = np.zeros(levels.size, np.int64)
    first = np.zeros(levels.size, np.int64)
    box = np.zeros((levels.size, 4), np.int64)
    best = -1
    for level in range(count, 0, -1):
        for pixel in order[edges[level] : edges[level + 1]]:
            root = _add(pixel, levels.shape, parent, size, first, box)
            if best < 0:
                best = root
            # The former best may be part of another component now.
            best = _root(parent, best)
            if size[root] > size[best] or (size[root] == size[best] and first[root] < first[best]):
                best = root
        if best >= 0:
            boxes[level - 1] = box[best]


@numba.njit(cache=True, nogil=True)
def _overlaps(levels: np.ndarray, count: int, given: np.ndarray, best: np.ndarray) -> None:
    order, edges = _by_level(levels, count)
    parent = np.full(levels.size, -1)
    size = np.zeros(levels.size, np.int64)
    first = np.zeros(levels.size, np.int64)
    box = np.zeros((levels.size, 4), np.int64)
    for level in range(count, 0, -1):
        for pixel in order[edges[level] : edges[level + 1]]:
            _add(pixel, levels.shape, parent, size, first, box)
        for pixel in order[edges[level] :]:
            if parent[pixel] == pixel:
                for other in given:
                    best[level - 1] = max(best[level - 1], _overlap(box[pixel], other))


@numba.njit(cache=True, nogil=True)
def _overlap(box: np.ndarray, other: np.ndarray) -> float:
    height = min(box[2], other[2]) - max(box[0], other[0])
    width = min(box[3], other[3]) - max(box[1], other[1])
    if height <= 0 or width <= 0:
        return 0.0
    areas = (box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return height * width / (areas - height * width)


@numba.njit(cache=True, nogil=True)
def _by_level(levels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels by level, a bucket each, and edges: those of level v lie from edges[v] to edges[v + 1]."""
    flat = levels.ravel()
    edges = np.zeros(count + 2, np.int64)
    for level in flat:
        edges[level + 1] += 1
    edges = np.cumsum(edges)
    places = edges[:-1].copy()
    order = np.empty(len(flat), np.int64)
    for pixel in range(len(flat)):
        order[places[flat[pixel]]] = pixel
        places[flat[pixel]] += 1
    return order, edges


@numba.njit(cache=True, nogil=True)
def _add(pixel: int, shape: tuple, parent: np.ndarray, size: np.ndarray, first: np.ndarray, box: np.ndarray) -> int:
    """Add a pixel to what is there, uniting the components that it touches; returns the root of its component."""
    height, width = shape
    row, column = pixel // width, pixel % width
    parent[pixel], size[pixel], first[pixel] = pixel, 1, pixel
    box[pixel, 0], box[pixel, 1], box[pixel, 2], box[pixel, 3] = row, column, row + 1, column + 1
    root = pixel
    for side in range(4):
        y, x = row + (side == 0) - (side == 1), column + (side == 2) - (side == 3)
        if 0 <= y < height and 0 <= x < width and parent[y * width + x] >= 0:
            root = _unite(root, _root(parent, y * width + x), parent, size, first, box)
    return root


@numba.njit(cache=True, nogil=True)
def _root(parent: np.ndarray, pixel: int) -> int:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@numba.njit(cache=True, nogil=True)
def _unite(a: int, b: int, parent: np.ndarray, size: np.ndarray, first: np.ndarray, box: np.ndarray) -> int:
    if a == b:
        return a
    if size[a] < size[b]:
        a, b = b, a
    parent[b] = a
    size[a] += size[b]
    first[a] = min(first[a], first[b])
    for edge in range(2):
        box[a, edge] = min(box[a, edge], box[b, edge])
        box[a, edge + 2] = max(box[a, edge + 2], box[b, edge + 2])
    return a
