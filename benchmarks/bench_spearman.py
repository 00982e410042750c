"""Speed of the exact Spearman correlation of 224x224 maps against a scipy call per image."""

import numpy as np
import scipy.stats

from benchmarks.timing import interleave, milliseconds, one_thread, ratio
from camstudy.geometry import resample
from camstudy.metrics.alignment import spearman

IMAGES = 16


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
        return [_compare(kind, maps, human, repeats) for kind, maps in heatmaps().items()]


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
