"""Tiny datasets for tests: a store of coloured squares that a small network learns at once."""

from pathlib import Path

import numpy as np

from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.data.dataset import Dataset, open_dataset

CLASSES = 3
SIDE = 16
INPUT = {"size": SIDE, "crop_pct": 1.0, "interpolation": "bilinear", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}


def squares(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (n, 16, 16, 3) and labels (n,): the channel of the bright square is the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    images = rng.integers(0, 120, (n, SIDE, SIDE, 3), dtype=np.uint8)
    for image, label, (y, x) in zip(images, labels, rng.integers(0, SIDE - 6, (n, 2)), strict=True):
        image[y : y + 6, x : x + 6, label] = 255
    return images, labels


def names_of(n: int) -> list[str]:
    """Return names of n images."""
    return [f"square-{number}.png" for number in range(n)]


def write_store(manifest: Path, images: np.ndarray, labels: np.ndarray, chunk: int = 8) -> Dataset:
    """Write images and labels as a finished dataset store and open it."""
    arrays = {"pixels": ArraySpec("uint8", images.shape[1:], ("y", "x", "channel"))}
    fixed = {"image": (("image",), names_of(len(images))), "label": (("image",), labels)}
    writer = StoreWriter(manifest, n=len(images), chunk=chunk, arrays=arrays, attrs={}, identity="squares", fixed=fixed)
    for part in writer.pending():
        writer.write(part, pixels=images[part])
    writer.finish()
    return open_dataset(manifest)
