"""Scanpaths beside those of people: where they go in which order.

A scanpath is (steps, 2), rows and columns in pixels of the part of the image that was seen, whose height and width are
its frame. A score is the mean over the people who looked at the image.
"""

from collections.abc import Callable, Sequence

import numpy as np

from camstudy.metrics.registry import METRICS

FAMILY = "scanpath"
DIMENSIONS = ("shape", "direction", "length", "position")
MULTIMATCH = "Jarodzka et al. 2010; Dewhurst et al. 2012 (Behavior Research Methods 44, 1079)"
LEAST = 3  # fixations of which MultiMatch makes something

Paths = Sequence[np.ndarray]


@METRICS.register(
    "scanmatch",
    family=FAMILY,
    direction="up",
    range=(-np.inf, 1.0),
    level="image",
    label="ScanMatch",
    source="Cristino et al. 2010 (Behavior Research Methods 42, 692)",
    needs=("scanpath", "human_scanpaths", "frame"),
    partial=True,
)
def scanmatch(
    paths: Paths,
    human: Sequence[Paths],
    frames: np.ndarray,
    *,
    rows: int = 8,
    columns: int = 12,
    threshold: float = 3.5,
    gap: float = 0.0,
) -> np.ndarray:
    """Return how well scanpaths match as strings: the best alignment of the cells that they visit, in order.

    The frame is divided into ``rows`` x ``columns`` cells. Two cells that are paired gain ``threshold`` minus their
    distance in cells, a cell without a partner gains ``gap`` (Needleman and Wunsch 1970). The best sum, divided by
    ``threshold`` times the length of the longer string, is 1 for equal ones, and with no ``gap`` at least 0.
    Durations play no part.

    Edge cases: without a scanpath of the method or of people there is no score.
    """
    grid = np.array([rows, columns])

    def one(path: np.ndarray, other: np.ndarray, frame: np.ndarray) -> float:
        cells = (np.clip((each / frame * grid).astype(int), 0, grid - 1) for each in (path, other))
        first, second = cells
        gains = threshold - np.linalg.norm(first[:, None] - second[None], axis=2)
        return _best_sum(gains, gap) / (threshold * max(len(first), len(second)))

    return _over_people(one, paths, human, frames)


@METRICS.register(
    "first_fixation_distance",
    family=FAMILY,
    direction="down",
    range=(0.0, 1.0),
    level="image",
    label="First fixation",
    source="distance of the first fixations",
    needs=("scanpath", "human_scanpaths", "frame"),
    partial=True,
)
def first_fixation_distance(paths: Paths, human: Sequence[Paths], frames: np.ndarray) -> np.ndarray:
    """Return how far a scanpath's first fixation is from a person's, as a share of the frame's diagonal.

    Edge cases: without a scanpath of the method or of people there is no score.
    """
    return _over_people(
        lambda path, other, frame: float(np.linalg.norm(path[0] - other[0]) / np.linalg.norm(frame)),
        paths,
        human,
        frames,
    )


@METRICS.register(
    "multimatch_shape",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="MultiMatch shape",
    source=MULTIMATCH,
    needs=("multimatch",),
    partial=True,
)
def multimatch_shape(multimatch: np.ndarray) -> np.ndarray:
    """Return how much saccades agree as vectors: 1 minus the median difference in twice the frame's diagonal.

    ``multimatch`` is (n, 4), of `multimatch_of_people`. Saccades are paired along the path through the matrix of their
    differences as vectors that sums up least.

    Edge cases: scanpaths of fewer than three fixations have no score.
    """
    return np.asarray(multimatch, np.float64)[:, 0]


@METRICS.register(
    "multimatch_direction",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="MultiMatch direction",
    source=MULTIMATCH,
    needs=("multimatch",),
    partial=True,
)
def multimatch_direction(multimatch: np.ndarray) -> np.ndarray:
    """Return how much the angles of saccades agree: 1 minus the median difference in half turns.

    As `multimatch_shape`.

    Edge cases: scanpaths of fewer than three fixations have no score.
    """
    return np.asarray(multimatch, np.float64)[:, 1]


@METRICS.register(
    "multimatch_length",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="MultiMatch length",
    source=MULTIMATCH,
    needs=("multimatch",),
    partial=True,
)
def multimatch_length(multimatch: np.ndarray) -> np.ndarray:
    """Return how much the lengths of saccades agree: 1 minus the median difference as a share of the frame's diagonal.

    As `multimatch_shape`.

    Edge cases: scanpaths of fewer than three fixations have no score.
    """
    return np.asarray(multimatch, np.float64)[:, 2]


@METRICS.register(
    "multimatch_position",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="MultiMatch position",
    source=MULTIMATCH,
    needs=("multimatch",),
    partial=True,
)
def multimatch_position(multimatch: np.ndarray) -> np.ndarray:
    """Return how much the starts of saccades agree: 1 minus the median distance as a share of the frame's diagonal.

    As `multimatch_shape`.

    Edge cases: scanpaths of fewer than three fixations have no score.
    """
    return np.asarray(multimatch, np.float64)[:, 3]


def multimatch(path: np.ndarray, other: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Return MultiMatch's similarities of two scanpaths, without simplification: shape, direction, length, position.

    float64 (4,) in [0, 1], NaN where a path has fewer than three fixations. The fifth dimension, duration, is left out:
    methods' scanpaths have none.
    """
    if min(len(path), len(other)) < LEAST:
        return np.full(len(DIMENSIONS), np.nan)
    diagonal = np.linalg.norm(frame)
    first, second = np.diff(path, axis=0), np.diff(other, axis=0)
    differences = np.linalg.norm(first[:, None] - second[None], axis=2)
    i, j = _cheapest(differences).T
    angles = [np.arctan2(*saccades.T) for saccades in (first, second)]
    turn = np.abs(angles[0][i] - angles[1][j])
    lengths = [np.linalg.norm(saccades, axis=1) for saccades in (first, second)]
    medians = (
        np.median(differences[i, j]) / (2 * diagonal),
        np.median(np.minimum(turn, 2 * np.pi - turn)) / np.pi,
        np.median(np.abs(lengths[0][i] - lengths[1][j])) / diagonal,
        np.median(np.linalg.norm(path[i] - other[j], axis=1)) / diagonal,
    )
    return 1 - np.array(medians)


def multimatch_of_people(paths: Paths, human: Sequence[Paths], frames: np.ndarray) -> np.ndarray:
    """Return the mean of `multimatch` over the people who looked at each image, float64 (n, 4)."""
    found = [
        [multimatch(path, other, frame) for other in people]
        for path, people, frame in zip(paths, human, frames, strict=True)
    ]
    return np.array([_mean(np.reshape(each, (-1, len(DIMENSIONS)))) for each in found]).reshape(-1, len(DIMENSIONS))


def _over_people(
    one: Callable[[np.ndarray, np.ndarray, np.ndarray], float],
    paths: Paths,
    human: Sequence[Paths],
    frames: np.ndarray,
) -> np.ndarray:
    """Return the mean of a score over the people who looked at each image, float64 (n,)."""
    found = []
    for path, people, frame in zip(paths, human, frames, strict=True):
        scores = [one(path, other, frame) for other in people if len(path) and len(other)]
        found.append(np.mean(scores) if scores else np.nan)
    return np.array(found, np.float64)


def _mean(rows: np.ndarray) -> np.ndarray:
    """Return the mean over rows without a missing value; NaN if there is none."""
    known = rows[~np.isnan(rows).any(axis=1)]
    return known.mean(0) if len(known) else np.full(rows.shape[1], np.nan)


def _best_sum(gains: np.ndarray, gap: float) -> float:
    """Return the largest sum of gains of pairs in order, what is left out counted as ``gap``."""
    best = gap * np.arange(gains.shape[1] + 1)
    for number, row in enumerate(gains.tolist()):
        left, diagonal = gap * (number + 1), best[:-1]
        found = [left]
        for above, before, gain in zip(best[1:], diagonal, row, strict=True):
            left = max(before + gain, above + gap, left + gap)
            found.append(left)
        best = np.array(found)
    return float(best[-1])


def _cheapest(costs: np.ndarray) -> np.ndarray:
    """Return the cells (k, 2) of the path from the first to the last that sums up least: right, down, or both."""
    height, width = costs.shape
    total = np.full((height + 1, width + 1), np.inf)
    total[0, 0] = 0
    for i in range(height):
        for j in range(width):
            total[i + 1, j + 1] = costs[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    cells, i, j = [(height - 1, width - 1)], height - 1, width - 1
    while i or j:
        before = [(i - 1, j - 1), (i - 1, j), (i, j - 1)]
        i, j = min(before, key=lambda cell: total[cell[0] + 1, cell[1] + 1])
        cells.append((i, j))
    return np.array(cells[::-1])
