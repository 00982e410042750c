"""Chunked Zarr stores that survive a killed job: aligned writes, an identity, a manifest written last.

A store ``x.zarr`` belongs to the manifest ``x.json``. The manifest is the finished product: while it is
missing, the store may be partial, and the next writer with the same identity computes only missing chunks.

Every chunk is written, empty ones too, with a checksum, and each array is one flat folder: a finished store is complete
if a listing of these folders shows all chunks, which opening it checks. That protects arrays of which every value can
be data, such as pixels; elsewhere what was never written is no value that data has (`ArraySpec.fill_value`). The sha256
of each file is kept, too, and compared when it is read: `camstudy.core.chunks`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from camstudy.core import chunks
from camstudy.core.chunks import DAMAGE, Part, naming_damage
from camstudy.core.errors import CamstudyError, Damaged
from camstudy.core.files import remove
from camstudy.core.provenance import read_json, write_json

FORMAT = 2
# Arrays that label the images, beside their names in `image`: xarray learns of them by CF's attribute `coordinates`.
LABELS = ("label", "class_name")
# In a group of its own, so that readers see the data alone.
WRITTEN = "progress/written"
# Elements per chunk of a ragged array: 4 MB of file contents.
RAGGED_CHUNK = 1 << 22
# Of zarr, for a `zarr.json`; also if what stands there is no file, or nested without end.
DESCRIPTION_ERRORS = (ValueError, KeyError, TypeError, AttributeError, RecursionError, *chunks.NO_FILE)

# Dimensions and values of an array that is known from the start, as xarray writes them.
Fixed = tuple[Sequence[str], np.ndarray | Sequence]


@dataclass(frozen=True)
class ArraySpec:
    """One array of a store: its first dimension, ``image``, is implied; the fields describe the others.

    ``dtype`` is a numpy dtype or ``str``, for text of any length. Only an array of coordinates has the name of a
    dimension: `xarray` takes it for one. With ``offsets``, int64 (n + 1,), the array is ragged: image i has the
    elements ``offsets[i]`` to ``offsets[i + 1]`` of one long array, whose offsets are stored beside it as
    ``{name}_offset``.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    dims: tuple[str, ...] = ()
    offsets: np.ndarray | None = None

    @property
    def kind(self) -> np.dtype:
        """The dtype that numpy arrays of it have."""
        return np.dtypes.StringDType() if self.dtype == "str" else np.dtype(self.dtype)

    @property
    def fill_value(self) -> object:
        """What stands where nothing was written: NaN, "", the smallest signed or the largest unsigned integer."""
        if self.dtype == "str":
            return ""
        if self.kind.kind == "f":
            return float("nan")
        limits = np.iinfo(self.kind)
        return int(limits.max if self.kind.kind == "u" else limits.min)


if TYPE_CHECKING:

    class _Ragged(ArraySpec):
        offsets: np.ndarray


def store_path(manifest: str | Path) -> Path:
    """Return the path of the store that a manifest describes: ``x.json`` -> ``x.zarr``."""
    return Path(manifest).with_suffix(".zarr")


class StoreWriter:
    """The single writer of a store of ``n`` images in chunks of ``chunk`` images.

    An existing store with the same ``identity`` and layout is continued, any other is wiped.

    Parameters
    ----------
    manifest : path of the JSON file that `finish` writes; the store lies beside it
    n, chunk : number of images, in all and in a chunk
    arrays : what `write` is given, by name
    attrs : attributes of the whole store (JSON values); `format` and `identity` are added
    identity : a line of text that is the same as long as the content is
    fixed : arrays that are known from the start, as ``(dimensions, values)`` by name; each is one chunk
    """

    def __init__(
        self,
        manifest: str | Path,
        *,
        n: int,
        chunk: int,
        arrays: Mapping[str, ArraySpec],
        attrs: Mapping[str, object],
        identity: str,
        fixed: Mapping[str, Fixed] | None = None,
    ) -> None:
        if n < 1 or chunk < 1:
            raise CamstudyError(f"{manifest}: a store needs images (found n={n}) and a chunk size (found {chunk})")
        self.manifest = Path(manifest)
        self.path = store_path(manifest)
        self.n, self.chunk, self.identity = n, chunk, identity
        self.arrays = dict(arrays)
        edges = {f"{name}_offset": ((f"{name}_edge",), spec.offsets) for name, spec in arrays.items() if _ragged(spec)}
        self._fixed = {name: (dims, _array(values)) for name, (dims, values) in {**(fixed or {}), **edges}.items()}
        # The flags stay in memory-sized pieces: one byte an image, committed after the chunk they stand for.
        self._specs = {**self.arrays, WRITTEN: ArraySpec("uint8")}
        self._open = self._resume() or self._create(attrs)

    def _resume(self) -> dict[str, zarr.Array] | None:
        try:
            group = zarr.open_group(chunks.Linked(self.path), mode="r+", zarr_format=3, use_consolidated=False)
            known = group.attrs.get("identity"), group.attrs.get("format")
            if known != (self.identity, FORMAT) or not self._fits(group):
                return None
        except DESCRIPTION_ERRORS:
            return None
        arrays, sums = self._for_writing(group), chunks.kept_sums(self.path)
        for name, (_, values) in self._fixed.items():
            if unsound_fixed := chunks.unsound_chunks(self.path, name, arrays[name], sums):
                chunks.discard(self.path, name, arrays[name], unsound_fixed)
                arrays[name][...] = values
        try:
            chunks.discard(self.path, WRITTEN, arrays[WRITTEN], chunks.lost_chunks(self.path, WRITTEN, arrays[WRITTEN]))
            written = arrays[WRITTEN][:] == 1
        except DAMAGE:
            return None
        unsound = {name: chunks.unsound_chunks(self.path, name, arrays[name], sums) for name in self.arrays}
        if not sums or any(unsound.values()):
            # They are not those of what is made anew, or no file.
            chunks.forget_sums(self.path)
        for name, spec in self.arrays.items():
            chunks.remove_leftovers(self.path, name)
            for number in unsound[name]:
                # It may hold other images, too, and would be read before it is written.
                chunks.discard(self.path, name, arrays[name], [number])
                images = self._images_of(spec, number)
                if written[images].any():
                    arrays[WRITTEN][images] = written[images] = 0
        return arrays

    def _fits(self, group: zarr.Group) -> bool:
        """Return whether a store has this writer's arrays, with its number of images and its chunks."""
        return all(
            name in group
            and group[name].shape == (self._span(spec, 0, self.n).stop, *spec.shape)
            and group[name].chunks == (self._chunk_of(spec), *spec.shape)
            and group[name].dtype == spec.kind
            for name, spec in self._specs.items()
        ) and all(name in group and group[name].shape == values.shape for name, (_, values) in self._fixed.items())

    def _create(self, attrs: Mapping[str, object]) -> dict[str, zarr.Array]:
        remove(self.path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        group = zarr.create_group(self.path, zarr_format=3)
        for name, spec in self._specs.items():
            shape = (self._span(spec, 0, self.n).stop, *spec.shape)
            dims: Sequence[str] = (f"{name}_element" if _ragged(spec) else "image", *spec.dims)
            _create_array(group, name, spec, shape, (self._chunk_of(spec), *spec.shape), dims)
        for name, (dims, values) in self._fixed.items():
            dtype = "str" if isinstance(values.dtype, np.dtypes.StringDType) else values.dtype.name
            _create_array(group, name, ArraySpec(dtype), values.shape, values.shape, dims)
        arrays = self._for_writing(group)
        for name, (_, values) in self._fixed.items():
            arrays[name][...] = values
        labels = " ".join(name for name in LABELS if name in arrays)
        # The identity comes last: a store without it is an unfinished creation and gets wiped.
        about = {**attrs, "format": FORMAT, "identity": self.identity}
        group.attrs.update(about | ({"coordinates": labels} if labels else {}))
        return arrays

    def _for_writing(self, group: zarr.Group) -> dict[str, zarr.Array]:
        """Return the arrays of a store such that empty chunks are written, which is no property of the store."""
        return {name: group[name].with_config({"write_empty_chunks": True}) for name in (*self._specs, *self._fixed)}

    def _span(self, spec: ArraySpec, start: int, stop: int) -> slice:
        """Return where the images of a range lie in an array."""
        return slice(int(spec.offsets[start]), int(spec.offsets[stop])) if _ragged(spec) else slice(start, stop)

    def _chunk_of(self, spec: ArraySpec) -> int:
        if _ragged(spec):
            return max(1, min(RAGGED_CHUNK, int(spec.offsets[-1])))
        return min(self.chunk, self.n)

    def _images_of(self, spec: ArraySpec, number: int) -> slice:
        """Return the images that have elements in a chunk of an array."""
        start, stop = (self._chunk_of(spec) * edge for edge in (number, number + 1))
        if not _ragged(spec):
            return slice(start, min(stop, self.n))
        first = np.searchsorted(spec.offsets, start, side="right") - 1
        return slice(int(first), min(int(np.searchsorted(spec.offsets, stop)), self.n))

    def pending(self) -> list[slice]:
        """Return the chunks that are still missing, as slices of image positions in ascending order."""
        written = self._open[WRITTEN][:] == 1
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
                # A ragged chunk may hold other images, too, and is read first.
                with naming_damage(self.path, name, self._open[name], span):
                    self._open[name][span] = value
        self._open[WRITTEN][part] = 1

    def finish(self, **record: object) -> None:
        """Check that every image is there, then write the manifest with ``record`` added to it."""
        missing = self.pending()
        if missing:
            raise CamstudyError(f"{self.path}: {len(missing)} chunks are missing; run the rule again to fill them")
        arrays = sorted([*self.arrays, *self._fixed])
        for name in arrays:
            chunks.check_complete(self.manifest, self.path, name, self._open[name])
        facts = {"store": self.path.name, "format": FORMAT, "n_images": self.n, "arrays": arrays}
        facts["sums"] = chunks.write_sums(self.path, {name: self._open[name] for name in arrays})
        write_json(self.manifest, {**facts, "identity": self.identity, **record})


class StoredArray:
    """An array of a finished store, for reading: ``array[part]`` with a slice or positions of its first dimension.

    ``dims`` are the names of its dimensions, ``zarr`` is the array as the library has it. A chunk that is not what was
    written is `Damaged`, which names it.
    """

    def __init__(self, path: Path, name: str, array: zarr.Array) -> None:
        self._path, self._name, self.zarr = path, name, array
        self.shape, self.chunks, self.dtype, self.size = array.shape, array.chunks, array.dtype, array.size
        self.dims: tuple[str, ...] = array.metadata.dimension_names

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: Part) -> np.ndarray:
        with naming_damage(self._path, self._name, self.zarr, part):
            return self.zarr.oindex[_as_slice(part)]


class Store(Mapping[str, StoredArray]):
    """A finished store, open for reading: its arrays by name, and its attributes."""

    def __init__(self, path: Path, arrays: Mapping[str, zarr.Array], attrs: Mapping[str, object]) -> None:
        self.path, self.attrs = path, dict(attrs)
        self.zarrs = {name: StoredArray(path, name, array) for name, array in arrays.items()}

    def __getitem__(self, name: str) -> StoredArray:
        return self.zarrs[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.zarrs)

    def __len__(self) -> int:
        return len(self.zarrs)


def open_store(manifest: str | Path, require: Sequence[str] = ()) -> Store:
    """Open a finished store for reading, given its manifest; ``require`` names arrays that must be there.

    One listing of each array's folder tells that no chunk is missing; its content is checked as it is read. Raises
    `CamstudyError` for a store of another format, and `Damaged` for one that is not what the manifest describes.
    """
    manifest = Path(manifest)
    record, path = read_json(manifest), store_path(manifest)
    if not path.is_dir():
        raise Damaged(f"{path}: no such store, though {manifest} exists", manifest)
    sums = chunks.read_sums(path, record.get("sums"), manifest)
    try:
        group = zarr.open_group(chunks.Verified(path, sums, manifest), mode="r", zarr_format=3, use_consolidated=False)
        arrays = dict(sorted(group.arrays()))
    except DESCRIPTION_ERRORS as error:
        raise Damaged(f"{path}: its description cannot be read ({error})", manifest) from None
    if group.attrs.get("format") != FORMAT:
        found = group.attrs.get("format", "an earlier one")
        raise CamstudyError(f"{path}: has format {found}, expected {FORMAT}; delete it and {manifest} and rerun")
    if group.attrs["identity"] != record.get("identity"):
        raise Damaged(f"{path}: does not belong to {manifest} (identities differ)", manifest)
    stated = record.get("arrays")
    if not isinstance(stated, list) or not all(isinstance(name, str) for name in stated):
        raise Damaged(f"{manifest}: does not say which arrays its store has", manifest)
    for name in stated:
        if name not in arrays:
            raise Damaged(f"{path}: lacks the array `{name}`", manifest)
    missing = [name for name in require if name not in arrays]
    if missing:
        raise CamstudyError(f"{path}: has no array `{missing[0]}`; it holds {', '.join(arrays)}")
    for name, array in arrays.items():
        chunks.check_complete(manifest, path, name, array)
    return Store(path, arrays, group.attrs)


def overlaid(below: Store, above: Store) -> Store:
    """Return a store with the arrays of two of the same images; those that both have are of ``above``.

    Raises `CamstudyError` where their images differ.
    """
    if not np.array_equal(below["image"][:], above["image"][:]):
        raise CamstudyError(f"{above.path}: is of other images than {below.path}; delete its manifest and run again")
    found = Store(below.path, {}, below.attrs)
    found.zarrs = {**below.zarrs, **above.zarrs}
    return found


def _as_slice(part: Part) -> Part:
    """Return neighbouring positions as a slice, which zarr reads faster, and all else as it is."""
    if isinstance(part, slice):
        return part
    positions = np.asarray(part)
    if positions.ndim != 1 or not positions.size or positions.dtype.kind not in "iu":
        return part
    if positions[0] >= 0 and np.all(np.diff(positions) == 1):
        return slice(int(positions[0]), int(positions[-1]) + 1)
    return part


def _ragged(spec: ArraySpec) -> "TypeGuard[_Ragged]":
    return spec.offsets is not None


def _array(values: np.ndarray | Sequence) -> np.ndarray:
    """Return values as an array, text as text of any length."""
    array = np.asarray(values)
    return array.astype(np.dtypes.StringDType()) if array.dtype.kind in "UO" else array


def _create_array(
    group: zarr.Group, name: str, spec: ArraySpec, shape: Sequence[int], chunks: Sequence[int], dims: Sequence[str]
) -> None:
    group.create_array(
        name,
        shape=shape,
        chunks=chunks,
        # Of zarr's types for text, the one that its third version knows.
        dtype=str if spec.dtype == "str" else spec.dtype,
        fill_value=spec.fill_value,
        dimension_names=tuple(dims),
        # Chunks lie in the array's own folder, which a single listing shows.
        chunk_key_encoding={"name": "default", "separator": "."},
        compressors=ZstdCodec(checksum=True),
    )
