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


def items(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Return multi-label squares: images uint8 (n, 16, 16, 3) and labels (n,) of items, their sets and sources.

    Images have one to three squares in turn, each of the colour of its class; a class that is not there may count as
    neither.
    """
    rng = np.random.default_rng(seed)
    images, labels, sets, sources = [], [], [], []
    while len(images) < n:
        present = np.sort(rng.permutation(CLASSES)[: 1 + len(set(sources)) % 3])
        image = rng.integers(0, 120, (SIDE, SIDE, 3), dtype=np.uint8)
        for label in present:
            y, x = rng.integers(0, SIDE - 6, 2)
            image[y : y + 6, x : x + 6, label] = 255
        chosen = np.where(rng.random(CLASSES) < 0.1, -1, 0)
        chosen[present] = 1
        first = len(images)
        for label in present:
            images, labels, sets, sources = [*images, image], [*labels, label], [*sets, chosen], [*sources, first]
    arrays = {"label_set": np.array(sets[:n], np.int8), "image_source": np.array(sources[:n])}
    return np.stack(images[:n]), np.array(labels[:n]), arrays


def write_store(
    manifest: Path, images: np.ndarray, labels: np.ndarray, chunk: int = 8, sets: dict[str, np.ndarray] | None = None
) -> Dataset:
    """Write images and labels, and the sets and sources of items, as a finished dataset store and open it."""
    arrays = {"pixels": ArraySpec("uint8", images.shape[1:], ("y", "x", "channel"))}
    fixed = {"image": (("image",), names_of(len(images))), "label": (("image",), labels)}
    dims = {"label_set": ("image", "class"), "image_source": ("image",)}
    fixed |= {name: (dims[name], values) for name, values in (sets or {}).items()}
    writer = StoreWriter(manifest, n=len(images), chunk=chunk, arrays=arrays, attrs={}, identity="squares", fixed=fixed)
    for part in writer.pending():
        writer.write(part, pixels=images[part])
    writer.finish()
    return open_dataset(manifest)
