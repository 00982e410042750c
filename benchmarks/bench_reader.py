"""The labeled reader against stores and tables read one by one: what figures, sweeps and aggregation would pay for it.

Opening is part of each time, and each row says whether both ways read the same.
"""

import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.table import Row
from benchmarks.timing import interleave, one_thread, versus
from camstudy.analysis.reading import open_scores
from camstudy.core.parts import read_tables, write_scores
from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.data.dataset import Dataset, open_dataset
from camstudy.explain.reading import label_maps
from camstudy.explain.store import ATTRIBUTES, Heatmaps, heatmap_writer

BLOCK = 16  # images that the sweep of thresholds reads at a time
SHOWN = 8  # images of a figure


class Size(NamedTuple):
    images: int
    chunk: int
    models: int
    methods: int
    repeats: int


FULL, SMALL = Size(2048, 256, 4, 6, 5), Size(24, 8, 2, 2, 1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row for a figure, alone and stacked, for a sweep and for an aggregation."""
    size = SMALL if small else FULL
    keys = [(f"model{i}", f"method{j}") for i, j in product(range(size.models), range(size.methods))]
    grid = f"{size.models} models, {size.methods} methods, {size.images} images"
    with tempfile.TemporaryDirectory() as folder, one_thread():
        results = Path(folder)
        dataset = _data(results / "data/toy.json", size.images)
        manifests = {key: [_maps(results / "heatmaps/toy" / "/".join(key), size.chunk, dataset)] for key in keys}
        scores = [_scores(results / "scores/toy" / "/".join(key) / "people", dataset) for key in keys]
        shown = np.sort(np.random.default_rng(0).choice(size.images, SHOWN, replace=False))

        def one_by_one() -> np.ndarray:
            return np.stack([Heatmaps(files).maps(shown) for files in manifests.values()])

        def each_labeled() -> np.ndarray:
            found = [label_maps({key: files})["heatmap"] for key, files in manifests.items()]
            return np.stack([maps.isel(image=shown).values[0, 0] for maps in found])

        def all_labeled() -> np.ndarray:
            return label_maps(manifests)["heatmap"].isel(image=shown).values.reshape(len(keys), SHOWN, 7, 7)

        yield _row("a figure, store by store", each_labeled, one_by_one, size, grid)
        yield _row("a figure, stores as one", all_labeled, one_by_one, size, grid)
        blocks = [slice(start, start + BLOCK) for start in range(0, size.images, BLOCK)]

        def blocks_labeled() -> np.ndarray:
            maps = label_maps({keys[0]: manifests[keys[0]]})["heatmap"][0, 0]
            return np.concatenate([maps[block].values for block in blocks])

        def blocks_of_store() -> np.ndarray:
            maps = Heatmaps(manifests[keys[0]])
            return np.concatenate([maps.maps(block) for block in blocks])

        detail = f"{size.images} images, {BLOCK} at a time"
        yield _row("a sweep", blocks_labeled, blocks_of_store, size, detail)

        def tables() -> np.ndarray:
            return np.stack([frame["spearman"] for frame in read_tables(keys, scores).values()])

        def tables_labeled() -> np.ndarray:
            return open_scores("toy", "people", results=results)["spearman"].values.reshape(len(keys), -1)

        yield _row("an aggregation", tables_labeled, tables, size, grid)


def _row(what: str, labeled: Callable, today: Callable, size: Size, detail: str) -> Row:
    equal = "equal to the bit" if np.array_equal(labeled(), today()) else "DIFFERENT"
    times = interleave({"labeled": labeled, "today": today}, size.repeats)
    return versus(f"reading for {what}, labeled / as it is", times, "labeled", "today", "", f"{detail}, {equal}")


def _data(manifest: Path, n: int) -> Dataset:
    fixed = {"image": (("image",), [f"{number}.jpg" for number in range(n)]), "label": (("image",), np.zeros(n, int))}
    arrays = {"pixels": ArraySpec("uint8", (1, 1, 3), ("y", "x", "channel"))}
    writer = StoreWriter(manifest, n=n, chunk=n, arrays=arrays, attrs={}, identity="f", fixed=fixed)
    writer.write(slice(0, n), pixels=np.zeros((n, 1, 1, 3), np.uint8))
    writer.finish()
    return open_dataset(manifest)


def _maps(path: Path, chunk: int, dataset: Dataset) -> Path:
    manifest = path.with_suffix(".json")
    writer = heatmap_writer(
        manifest,
        shape=(7, 7),
        chunk=chunk,
        attrs={**dict.fromkeys(ATTRIBUTES), "images": [0, dataset.n, dataset.n], "crop_box": [0, 0, 1, 1]},
        identity="f",
        names=dataset.names(),
        labels=dataset.labels,
    )
    maps = np.random.default_rng(0).random((dataset.n, 7, 7), np.float32)
    for part in writer.pending():
        writer.write(part, heatmap=maps[part], target=dataset.labels[part])
    writer.finish()
    return manifest


def _scores(path: Path, dataset: Dataset) -> str:
    path.parent.mkdir(parents=True)
    frame = pd.DataFrame({"image": np.arange(dataset.n), "spearman": np.random.default_rng(0).random(dataset.n)})
    write_scores(path.with_suffix(".parquet"), frame, dataset, slice(0, dataset.n))
    path.with_suffix(".json").write_text('{"identity": ""}')
    return str(path.with_suffix(".json"))
