"""The heatmap store at native resolution against one with maps enlarged to 224x224: bytes on disk, time to read."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import zarr
from scipy.ndimage import gaussian_filter

from benchmarks.table import Row
from benchmarks.timing import interleave, one_thread, versus
from camstudy.core.geometry import resample
from camstudy.core.store import store_path
from camstudy.explain.store import ATTRIBUTES, Heatmaps, heatmap_writer


class Size(NamedTuple):
    images: int
    chunk: int
    repeats: int


FULL, SMALL = Size(images=512, chunk=256, repeats=5), Size(images=8, chunk=4, repeats=1)


def heatmaps(n: int) -> np.ndarray:
    """Return maps as of a last layer, float32 (n, 7, 7): smooth, with the zeros of a ReLU."""
    noise = np.random.default_rng(0).standard_normal((n, 7, 7))
    return np.maximum(gaussian_filter(noise, (0, 1, 1)), 0).astype(np.float32)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row for the size on disk and one for the time until all maps are in memory at 224x224."""
    size = SMALL if small else FULL
    maps = heatmaps(size.images)
    with tempfile.TemporaryDirectory() as folder, one_thread():
        native, enlarged = Path(folder, "native.json"), Path(folder, "enlarged.json")
        few, many = _write(native, maps, size.chunk), _write(enlarged, resample(maps), size.chunk)
        each = [f"{found / size.images / 1024:.2g} KiB" for found in (many, few)]
        detail = f"{' / '.join(each)} an image, {size.images} images"
        yield Row("heatmap store, bytes of 224x224 / native", many / few, ">= 500", detail)
        equal = "equal to the bit" if np.array_equal(resample(_read(native)), _read(enlarged)) else "differ"
        contestants = {"native": lambda: resample(_read(native)), "enlarged": lambda: _read(enlarged)}
        times = interleave(contestants, size.repeats)
        detail = f"with resampling, maps {equal}"
        yield versus("heatmap store, time of 224x224 / native", times, "enlarged", "native", ">= 1", detail)
        # What reading costs that compares each file with its sha256.
        contestants = {"verified": lambda: _read(enlarged), "zarr": lambda: _plain(enlarged)}
        times = interleave(contestants, size.repeats)
        yield versus("heatmap store, reading with sha256 / zarr's own", times, "verified", "zarr", "<= 1.5", "224x224")


def _write(manifest: Path, maps: np.ndarray, chunk: int) -> int:
    """Write a heatmap store and return the bytes of its files."""
    writer = heatmap_writer(
        manifest,
        shape=maps.shape[1:],
        chunk=chunk,
        attrs={**dict.fromkeys(ATTRIBUTES), "images": [0, len(maps), len(maps)], "crop_box": [0, 0, 1, 1]},
        identity="benchmark",
        names=[f"{number}.jpg" for number in range(len(maps))],
        labels=np.zeros(len(maps), np.int64),
    )
    for part in writer.pending():
        writer.write(part, heatmap=maps[part], target=np.zeros(part.stop - part.start, np.int64))
    writer.finish()
    return sum(file.stat().st_size for file in store_path(manifest).rglob("*") if file.is_file())


def _read(manifest: Path) -> np.ndarray:
    return Heatmaps([manifest]).maps()


def _plain(manifest: Path) -> np.ndarray:
    return zarr.open_group(store_path(manifest), mode="r", use_consolidated=False)["heatmap"][:]
