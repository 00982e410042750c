"""The heatmap store at native resolution against one with maps enlarged to 224x224: bytes on disk, time to read."""

import tempfile
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.timing import interleave, milliseconds, one_thread, ratio
from camstudy.explain.store import ATTRIBUTES, Heatmaps, heatmap_writer
from camstudy.geometry import resample
from camstudy.store import store_path

IMAGES, CHUNK = 512, 256


def heatmaps() -> np.ndarray:
    """Return maps as of a last layer, float32 (n, 7, 7): smooth, with the zeros of a ReLU."""
    noise = np.random.default_rng(0).standard_normal((IMAGES, 7, 7))
    return np.maximum(gaussian_filter(noise, (0, 1, 1)), 0).astype(np.float32)


def rows(repeats: int = 5) -> list[dict]:
    """Return a row for the size on disk and one for the time until all maps are in memory at 224x224."""
    native = heatmaps()
    with tempfile.TemporaryDirectory() as folder, one_thread():
        small, large = Path(folder, "native.json"), Path(folder, "enlarged.json")
        sizes = {manifest: _write(manifest, maps) for manifest, maps in ((small, native), (large, resample(native)))}
        equal = np.array_equal(resample(_read(small)), _read(large))
        times = interleave({"native": lambda: resample(_read(small)), "enlarged": lambda: _read(large)}, repeats)
    per_image = {manifest: size / IMAGES / 1024 for manifest, size in sizes.items()}
    return [
        {
            "name": "heatmap store, bytes of 224x224 / native",
            "ratio": sizes[large] / sizes[small],
            "target": ">= 500",
            "detail": f"{per_image[large]:.3g} KiB / {per_image[small]:.2g} KiB an image, {IMAGES} images",
        },
        {
            "name": "heatmap store, time of 224x224 / native",
            "ratio": ratio(times["enlarged"], times["native"]),
            "target": ">= 1",
            "detail": f"{milliseconds(times['enlarged'])} / {milliseconds(times['native'])} with resampling, maps "
            + ("equal to the bit" if equal else "differ"),
        },
    ]


def _write(manifest: Path, maps: np.ndarray) -> int:
    """Write a heatmap store and return the bytes of its files."""
    writer = heatmap_writer(
        manifest,
        shape=maps.shape[1:],
        chunk=CHUNK,
        attrs={**dict.fromkeys(ATTRIBUTES), "images": [0, IMAGES, IMAGES], "crop_box": [0, 0, 1, 1]},
        identity="benchmark",
        names=[f"{number}.jpg" for number in range(IMAGES)],
        labels=np.zeros(IMAGES, np.int64),
    )
    for part in writer.pending():
        writer.write(part, heatmap=maps[part], target=np.zeros(part.stop - part.start, np.int64))
    writer.finish()
    return sum(file.stat().st_size for file in store_path(manifest).rglob("*") if file.is_file())


def _read(manifest: Path) -> np.ndarray:
    return Heatmaps([manifest]).maps()
