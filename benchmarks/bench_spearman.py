"""Speed of the exact Spearman correlation of 224x224 maps against a scipy call per image."""

import statistics
import time

import numpy as np
import scipy.stats

from camstudy.geometry import resample
from camstudy.metrics.alignment import spearman

IMAGES = 16
REPEATS = 7
TARGET = 7.0  # times faster, at least


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


def rows() -> list[dict]:
    """Return one record per kind of map: ratio of scipy's time to ours, medians of interleaved runs."""
    human = resample(np.random.default_rng(1).random((IMAGES, 64, 64), dtype=np.float32))
    records = []
    for kind, maps in heatmaps().items():
        difference = np.abs(spearman(maps, human) - scipy_loop(maps, human)).max()  # compiles, too
        times: dict = {spearman: [], scipy_loop: []}
        for _ in range(REPEATS):
            for function, seconds in times.items():
                start = time.thread_time()
                function(maps, human)
                seconds.append(time.thread_time() - start)
        ours, theirs = (1000 * statistics.median(seconds) / IMAGES for seconds in times.values())
        records.append(
            {
                "name": f"Spearman against scipy ({kind})",
                "ratio": theirs / ours,
                "target": TARGET,
                "detail": f"{ours:.2f} ms against {theirs:.2f} ms a pair, differing by {difference:.0e}",
            }
        )
    return records


def main() -> None:
    for row in rows():
        print(f"{row['name']:45} {row['ratio']:5.1f}x (target {row['target']:.0f}x)  {row['detail']}")


if __name__ == "__main__":
    main()
