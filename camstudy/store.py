"""Chunked Zarr stores that survive a killed job: aligned writes, a fingerprint, a manifest written last.

A store ``x.zarr`` belongs to the manifest ``x.json``. The manifest is the finished product: while it is
missing, the store may be partial, and the next writer with the same fingerprint computes only missing chunks.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from camstudy.errors import CamstudyError
from camstudy.provenance import read_json, write_json

WRITTEN = "written"
# Elements per chunk of a ragged array: 4 MB of file contents.
RAGGED_CHUNK = 1 << 22


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store: its first dimension, ``image``, is implied; the fields describe the others.

    With ``offsets``, int64 (n + 1,), the array is ragged: image i has the elements ``offsets[i]`` to ``offsets[i + 1]``
    of one long array, whose offsets are stored beside it as ``{name}_offset``.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    dims: tuple[str, ...] = ()
    fill_value: float | int = 0
    offsets: np.ndarray | None = None


def store_path(manifest: str | Path) -> Path:
    """Return the path of the store that a manifest describes: ``x.json`` -> ``x.zarr``."""
    return Path(manifest).with_suffix(".zarr")


class StoreWriter:
    """The single writer of a store of ``n`` images in chunks of ``chunk`` images.

    An existing store with the same ``fingerprint`` and layout is continued, any other is wiped. ``attrs`` are
    attributes of the whole store (JSON values).
    """

    def __init__(
        self,
        manifest: str | Path,
        *,
        n: int,
        chunk: int,
        arrays: Mapping[str, ArraySpec],
        attrs: Mapping[str, object],
        fingerprint: str,
    ) -> None:
        if n < 1 or chunk < 1:
            raise CamstudyError(f"{manifest}: a store needs images (found n={n}) and a chunk size (found {chunk})")
        self.manifest = Path(manifest)
        self.path = store_path(manifest)
        self.n, self.chunk, self.fingerprint = n, chunk, fingerprint
        self.arrays = dict(arrays)
        # The flags stay in memory-sized pieces: one byte an image, committed after the chunk they stand for.
        self._specs = {**self.arrays, WRITTEN: ArraySpec("uint8")}
        self._group = self._resume() or self._create(attrs)

    def _resume(self) -> zarr.Group | None:
        try:
            group = zarr.open_group(self.path, mode="r+", zarr_format=3, use_consolidated=False)
        except (FileNotFoundError, ValueError, KeyError):
            return None
        same = group.attrs.get("fingerprint") == self.fingerprint and self._fits(group)
        return group if same else None

    def _fits(self, group: zarr.Group) -> bool:
        """Return whether a store has this writer's arrays, with its number of images and its chunks."""
        return all(
            name in group
            and group[name].shape == (self._span(spec, 0, self.n).stop, *spec.shape)
            and group[name].chunks == (self._chunk_of(spec), *spec.shape)
            and group[name].dtype == spec.dtype
            for name, spec in self._specs.items()
        )

    def _create(self, attrs: Mapping[str, object]) -> zarr.Group:
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        group = zarr.create_group(self.path, zarr_format=3)
        for name, spec in self._specs.items():
            ragged = spec.offsets is not None
            group.create_array(
                name,
                shape=(self._span(spec, 0, self.n).stop, *spec.shape),
                chunks=(self._chunk_of(spec), *spec.shape),
                dtype=spec.dtype,
                fill_value=spec.fill_value,
                dimension_names=(f"{name}_element" if ragged else "image", *spec.dims),
            )
            if ragged:
                group.create_array(f"{name}_offset", data=spec.offsets, dimension_names=(f"{name}_edge",))
        # The fingerprint comes last: a store without it is an unfinished creation and gets wiped.
        group.attrs.update({**attrs, "fingerprint": self.fingerprint})
        return group

    def _span(self, spec: ArraySpec, start: int, stop: int) -> slice:
        """Return where the images of a range lie in an array."""
        return slice(start, stop) if spec.offsets is None else slice(int(spec.offsets[start]), int(spec.offsets[stop]))

    def _chunk_of(self, spec: ArraySpec) -> int:
        if spec.offsets is None:
            return min(self.chunk, self.n)
        return max(1, min(RAGGED_CHUNK, int(spec.offsets[-1])))

    def pending(self) -> list[slice]:
        """Return the chunks that are still missing, as slices of image positions in ascending order."""
        written = self._group[WRITTEN][:]
        starts = range(0, self.n, self.chunk)
        slices = [slice(start, min(start + self.chunk, self.n)) for start in starts]
        return [part for part in slices if not written[part].all()]

    def write(self, part: slice, **values: np.ndarray) -> None:
        """Write one whole chunk (a slice from `pending`) of every array, then mark it as written."""
        aligned = part.start % self.chunk == 0 and part.stop == min(part.start + self.chunk, self.n)
        if not aligned or values.keys() != self.arrays.keys():
            raise ValueError(f"{self.path}: write {part} of {sorted(values)} is not one whole chunk of every array")
        for name, value in values.items():
            span = self._span(self.arrays[name], part.start, part.stop)
            expected = (span.stop - span.start, *self.arrays[name].shape)
            if np.shape(value) != expected:
                raise ValueError(f"{self.path}: `{name}` has shape {np.shape(value)}, expected {expected}")
            if np.size(value):
                self._group[name][span] = value
        self._group[WRITTEN][part] = 1

    def finish(self, **record: object) -> None:
        """Check that every image is there, then write the manifest with ``record`` added to it."""
        missing = self.pending()
        if missing:
            raise CamstudyError(f"{self.path}: {len(missing)} chunks are missing; run the rule again to fill them")
        write_json(
            self.manifest,
            {"store": self.path.name, "n_images": self.n, "fingerprint": self.fingerprint, **record},
        )


def open_store(manifest: str | Path, require: Sequence[str] = ()) -> zarr.Group:
    """Open a finished store for reading, given its manifest; ``require`` names arrays that must be there."""
    record = read_json(manifest)
    path = store_path(manifest)
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3, use_consolidated=False)
    except (FileNotFoundError, ValueError):
        raise CamstudyError(f"{path}: no such store, though {manifest} exists; delete the manifest and rerun") from None
    if group.attrs.get("fingerprint") != record.get("fingerprint"):
        raise CamstudyError(f"{path}: does not belong to {manifest} (fingerprints differ); delete both and rerun")
    missing = [name for name in require if name not in group]
    if missing:
        raise CamstudyError(f"{path}: has no array `{missing[0]}`; it holds {', '.join(sorted(group.array_keys()))}")
    return group
