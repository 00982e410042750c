"""Speed of the exact Spearman correlation of 224x224 maps: against scipy calls, and of many floors at once."""

import numpy as np
import scipy.stats

from benchmarks.timing import interleave, milliseconds, one_thread, ratio
from camstudy.explain.postprocess import apply
from camstudy.geometry import resample
from camstudy.metrics.alignment import spearman
from camstudy.metrics.sweep import sweep_floors

IMAGES = 16
FLOORS = [None, *(tenth / 10 for tenth in range(10))]


def heatmaps() -> dict[str, np.ndarray]:
    """Return float32 (n, 224, 224) maps by kind: without ties, with the zeros of a ReLU, with a floor."""
    rng = np.random.default_rng(0)
    native = rng.standard_normal((IMAGES, 7, 7), dtype=np.float32)
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


def rows(repeats: int = 7) -> list[dict]:
    """Return a row per kind of map."""
    human = resample(np.random.default_rng(1).random((IMAGES, 64, 64), dtype=np.float32))
    with one_thread():
        return [*(_compare(kind, maps, human, repeats) for kind, maps in heatmaps().items()), _sweep(human, repeats)]


def _compare(kind: str, maps: np.ndarray, human: np.ndarray, repeats: int) -> dict:
    difference = np.abs(spearman(maps, human) - scipy_loop(maps, human)).max()
    times = interleave(
        {"ours": lambda: spearman(maps, human), "scipy": lambda: scipy_loop(maps, human)},
        repeats,
    )
    shown = {who: milliseconds(seconds) for who, seconds in times.items()}
    return {
        "name": f"scipy loop / Spearman, {kind}",
        "ratio": ratio(times["scipy"], times["ours"]),
        "target": ">= 7",
        "detail": f"{shown['scipy']} / {shown['ours']}, {IMAGES} pairs, differing by {difference:.0e}",
    }


def _sweep(human: np.ndarray, repeats: int) -> dict:
    maps = np.maximum(np.random.default_rng(2).standard_normal((IMAGES, 7, 7), dtype=np.float32), 0)

    def one_by_one() -> np.ndarray:
        floored = (apply(maps, {} if floor is None else {"floor": floor}) for floor in FLOORS)
        return np.stack([spearman(resample(each), human) for each in floored], axis=1)

    difference = np.abs(sweep_floors(maps, human, FLOORS)[0] - one_by_one()).max()
    times = interleave({"at once": lambda: sweep_floors(maps, human, FLOORS), "one by one": one_by_one}, repeats)
    shown = {who: milliseconds(seconds) for who, seconds in times.items()}
    return {
        "name": "floors one by one / threshold sweep",
        "ratio": ratio(times["one by one"], times["at once"]),
        "target": ">= 1.5",
        "detail": f"{shown['one by one']} / {shown['at once']}, {IMAGES} maps at {len(FLOORS)} floors, "
        f"differing by {difference:.0e}",
    }
