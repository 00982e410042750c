"""Speed of the exact Spearman correlation of 224x224 maps: against scipy calls, and of many floors at once."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.stats

from benchmarks.table import Row
from benchmarks.timing import interleave, one_thread, versus
from camstudy.core.geometry import resample
from camstudy.explain.postprocess import apply
from camstudy.metrics.agreement import spearman
from camstudy.metrics.sweep import sweep_floors


class Size(NamedTuple):
    images: int
    repeats: int


FULL, SMALL = Size(images=16, repeats=7), Size(images=2, repeats=1)
FLOORS = [None, *(tenth / 10 for tenth in range(10))]


def heatmaps(n: int) -> dict[str, np.ndarray]:
    """Return float32 (n, 224, 224) maps by kind: without ties, with the zeros of a ReLU, with a floor."""
    rng = np.random.default_rng(0)
    native = rng.standard_normal((n, 7, 7), dtype=np.float32)
    low, high = native.min(axis=(1, 2), keepdims=True), native.max(axis=(1, 2), keepdims=True)
    return {
        "smooth": resample(native),
        "ReLU, half zeros": resample(np.maximum(native, 0)),
        "ReLU, mostly zeros": resample(np.maximum(native - np.quantile(native, 0.9, axis=(1, 2), keepdims=True), 0)),
        "floor at 0.3": resample(np.maximum((native - low) / (high - low), np.float32(0.3))),
    }


def scipy_loop(maps: np.ndarray, human: np.ndarray) -> np.ndarray:
    pairs = zip(maps, human, strict=True)
    return np.array([scipy.stats.spearmanr(a.ravel(), b.ravel()).statistic for a, b in pairs])


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row per kind of map and one for the sweep."""
    size = SMALL if small else FULL
    human = resample(np.random.default_rng(1).random((size.images, 64, 64), dtype=np.float32))
    with one_thread():
        for kind, maps in heatmaps(size.images).items():
            yield _compare(kind, maps, human, size.repeats)
        yield _sweep(human, size.repeats)


def _compare(kind: str, maps: np.ndarray, human: np.ndarray, repeats: int) -> Row:
    difference = np.abs(spearman(maps, human) - scipy_loop(maps, human)).max()
    contestants = {"ours": lambda: spearman(maps, human), "scipy": lambda: scipy_loop(maps, human)}
    times = interleave(contestants, repeats)
    detail = f"{len(maps)} pairs, differing by {difference:.0e}"
    return versus(f"scipy loop / Spearman, {kind}", times, "scipy", "ours", ">= 7", detail)


def _sweep(human: np.ndarray, repeats: int) -> Row:
    maps = np.maximum(np.random.default_rng(2).standard_normal((len(human), 7, 7), dtype=np.float32), 0)

    def one_by_one() -> np.ndarray:
        floored = (apply(maps, {} if floor is None else {"floor": floor}) for floor in FLOORS)
        return np.stack([spearman(resample(each), human) for each in floored], axis=1)

    difference = np.abs(sweep_floors(maps, human, FLOORS)[0] - one_by_one()).max()
    times = interleave({"at once": lambda: sweep_floors(maps, human, FLOORS), "one by one": one_by_one}, repeats)
    detail = f"{len(human)} maps at {len(FLOORS)} floors, differing by {difference:.0e}"
    return versus("floors one by one / threshold sweep", times, "one by one", "at once", ">= 1.5", detail)
