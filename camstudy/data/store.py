"""The dataset store: images, labels and human maps in one Zarr store, the same for every source.

- `image`: uint8 (image, y, x, channel), 256x256 RGB
- `label`: int64 (image)
- `human_map`: float32 (image, map_y, map_x), the blurred 64x64 map of ClickMe's preprocessing
- `human_half`: float32 (image, half, map_y, map_x), where known: the same for two halves of the annotators
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import zarr
from tqdm import tqdm

from camstudy.data.clickme import MAP_SIZE, SIZE, Record, blur_human_map
from camstudy.errors import CamstudyError
from camstudy.store import ArraySpec, StoreWriter, open_store, store_path

# What every reader may rely on. `human_maps` is "recorded" from people or "simulated".
ATTRIBUTES = {"dataset", "source", "licence", "human_maps", "class_names"}


def dataset_arrays(*, has_halves: bool) -> dict[str, ArraySpec]:
    """Return the arrays of a dataset store, with or without the maps of two halves of the annotators."""
    arrays = {
        "image": ArraySpec("uint8", (SIZE, SIZE, 3), ("y", "x", "channel")),
        "label": ArraySpec("int64"),
        "human_map": ArraySpec("float32", (MAP_SIZE, MAP_SIZE), ("map_y", "map_x")),
    }
    if has_halves:
        arrays["human_half"] = ArraySpec("float32", (2, MAP_SIZE, MAP_SIZE), ("half", "map_y", "map_x"))
    return arrays


def write_dataset(
    manifest: str | Path,
    records: Callable[[int], Iterable[Record]],
    *,
    n: int,
    attrs: Mapping[str, object],
    fingerprint: str,
    has_halves: bool = False,
    chunk: int = 64,
) -> None:
    """Prepare the first ``n`` records into the store of ``manifest``, one chunk in memory at a time.

    A store that a killed job left behind is continued if it has the same fingerprint, and wiped otherwise.

    Parameters
    ----------
    manifest : path of the JSON file that is written last; the store lies beside it
    records : returns the records from a position on, e.g. ``lambda start: read_clickme(shards,
        positions=range(start, n))``, so that finished ones are not decoded again
    n : number of images
    attrs : attributes of the store, see `ATTRIBUTES`
    fingerprint : identity of the content (source, selection, code)
    has_halves : whether the records carry maps of two halves of the annotators
    chunk : images per chunk, the step in which an interrupted job resumes

    Raises
    ------
    CamstudyError : there are fewer than ``n`` records, or one lacks the halves.
    """
    missing = ATTRIBUTES - attrs.keys()
    if missing:
        raise ValueError(f"{manifest}: attributes {sorted(missing)} are missing")
    arrays = dataset_arrays(has_halves=has_halves)
    writer = StoreWriter(manifest, n=n, chunk=chunk, arrays=arrays, attrs=attrs, fingerprint=fingerprint)
    stream, position = iter(()), None
    interval = 0.1 if sys.stderr.isatty() else 30
    for part in tqdm(writer.pending(), desc=Path(manifest).stem, unit="chunk", mininterval=interval):
        if part.start != position:
            stream = iter(records(part.start))
        position = part.stop
        batch = list(islice(stream, part.stop - part.start))
        if len(batch) < part.stop - part.start:
            found = part.start + len(batch)
            raise CamstudyError(f"{manifest}: {n} images asked for, but the source has {found}; ask for fewer")
        writer.write(part, **_arrays(batch, has_halves))
    writer.finish()


def _arrays(batch: list[Record], has_halves: bool) -> dict[str, np.ndarray]:
    values = {
        "image": np.stack([record.image for record in batch]),
        "label": np.array([record.label for record in batch], np.int64),
        "human_map": blur_human_map([record.heatmap for record in batch]),
    }
    if has_halves:
        for record in batch:
            if record.halves is None:
                where = f"{record.shard}, record {record.index}"
                raise CamstudyError(f"{where}: has no maps of two halves of its annotators")
        values["human_half"] = np.stack([blur_human_map(record.halves) for record in batch])
    return values


@dataclass(frozen=True)
class Dataset:
    """A finished dataset store, open for reading; ``part`` selects images by slice or list of positions."""

    path: Path
    group: zarr.Group

    @property
    def n(self) -> int:
        """Number of images."""
        return self.group["label"].shape[0]

    @property
    def chunk(self) -> int:
        """Number of images per chunk; reading is fastest in whole chunks."""
        return self.group["label"].chunks[0]

    @property
    def attrs(self) -> dict:
        """Attributes of the store, see `ATTRIBUTES`."""
        return dict(self.group.attrs)

    @property
    def labels(self) -> np.ndarray:
        """Class indices, int64 (n,)."""
        return self._read("label", slice(None))

    def images(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return images, uint8 (k, 256, 256, 3)."""
        return self._read("image", part)

    def human_map(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return blurred human maps, float32 (k, 64, 64)."""
        return self._read("human_map", part)

    def human_half(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return blurred maps of two halves of the annotators, float32 (k, 2, 64, 64)."""
        return self._read("human_half", part)

    def _read(self, name: str, part: slice | Sequence[int]) -> np.ndarray:
        if name not in self.group:
            known = ", ".join(sorted(self.group.array_keys()))
            raise CamstudyError(f"{self.path}: has no array `{name}`; it holds {known}")
        return self.group[name].oindex[part]


def open_dataset(manifest: str | Path) -> Dataset:
    """Open a finished dataset store, given its manifest; without images or labels it is a `CamstudyError`."""
    return Dataset(store_path(manifest), open_store(manifest, require=("image", "label")))
