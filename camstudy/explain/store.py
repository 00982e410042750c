"""The heatmap store: raw maps at native resolution with the class that each one explains.

- `heatmap`: float32 (image, y, x)
- `target`: int64 (image), the class explained; -1 of a control where there are no classes
- `crop_box`: float64 (image, edge), where images differ in it: top, left, bottom, right of what the model saw, in
  fractions of the image
- what the method's record declares beside the maps (`camstudy.explain.registry.MapArray`): (image, ...)
- coordinates: `image`: str, the image's name in the dataset; `label`: int64; `y`, `x`: float64, the centres of the
  maps' pixels in fractions of what the model saw
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.store import ArraySpec, Store, StoreWriter, open_store
from camstudy.explain.registry import BoundMethod

# What every reader may rely on. `reference` names the dataset's array that the maps are compared with, `crop_box` the
# part of the source image that the model saw, as fractions (top, left, bottom, right), None if it differs by image;
# `images` the first image of the store, the one after its last and the number of the dataset's images.
ATTRIBUTES = {
    *("dataset", "images", "model", "method", "parameters", "layer", "target_policy", "crop_box", "reference"),
}
# Arrays that every store has, or may have; all others are the method's.
OWN = ("heatmap", "target", "crop_box", "image", "label", "y", "x")


def heatmap_writer(
    manifest: str | Path,
    *,
    shape: tuple[int, int],
    chunk: int,
    attrs: Mapping[str, object],
    identity: str,
    names: Sequence[str],
    labels: Sequence[int],
    arrays: Mapping[str, ArraySpec] | None = None,
) -> StoreWriter:
    """Open the store of ``manifest`` for maps of ``shape``; a partial one with the same identity goes on.

    Its positions begin at 0 for the first of ``attrs["images"]``; ``names`` and ``labels`` are those of its images in
    the dataset. What is to be written: `heatmap`, `target`, without a crop box for all, `crop_box`, and ``arrays``, as
    `stored_arrays` returns them.
    """
    if attrs.keys() != ATTRIBUTES:
        raise ValueError(f"{manifest}: attributes {sorted(attrs.keys() ^ ATTRIBUTES)} are missing or unknown")
    start, stop, _ = attrs["images"]
    arrays = {"heatmap": ArraySpec("float32", shape, ("y", "x")), "target": ArraySpec("int64"), **(arrays or {})}
    if attrs["crop_box"] is None:
        arrays["crop_box"] = ArraySpec("float64", (4,), ("edge",))
    fixed = {"image": (("image",), names), "label": (("image",), np.asarray(labels, np.int64))}
    fixed |= {name: ((name,), (np.arange(side) + 0.5) / side) for name, side in zip("yx", shape, strict=True)}
    return StoreWriter(
        manifest, n=stop - start, chunk=chunk, arrays=arrays, attrs=attrs, identity=identity, fixed=fixed
    )


def stored_arrays(method: BoundMethod, shape: tuple[int, int]) -> dict[str, ArraySpec]:
    """Return how the store of a method's maps of ``shape`` holds the arrays that it declares, none for most methods."""
    declared, shapes = method.method.arrays, method.shapes(shape)
    return {name: ArraySpec(array.dtype, shapes[name], array.dims) for name, array in declared.items()}


class Heatmaps:
    """The maps of one method and model for a whole dataset, from one store or from those of its parts.

    ``n`` is the number of images, ``attrs`` holds `ATTRIBUTES` but for ``images``, ``arrays`` an image's dimensions and
    shape, and the dtype, of what the method has stored beside its maps, by name. Maps stay at native resolution;
    `camstudy.explain.postprocess.apply` does the rest of methods that have a postprocess.

    Parameters
    ----------
    manifests : one or more; stores that overlap, leave images out or differ in their attributes are a `CamstudyError`
    """

    def __init__(self, manifests: Sequence[str | Path]) -> None:
        self._parts: list[tuple[int, int, Store]] = []
        self.n, self.attrs = 0, {}
        self.arrays: dict[str, tuple[tuple[str, ...], tuple[int, ...], np.dtype]] = {}
        stores = [open_store(manifest, require=("heatmap", "target")) for manifest in manifests]
        for store in sorted(stores, key=lambda store: store.attrs["images"][0]):
            path, attrs = store.path, {name: value for name, value in store.attrs.items() if name in ATTRIBUTES}
            start, stop, n = attrs.pop("images")
            if not self._parts:
                self.attrs = attrs
            if start != self.n or attrs != self.attrs:
                raise CamstudyError(
                    f"{path}: holds images {start} to {stop} of {n} and does not continue the parts before it, which "
                    f"end at {self.n}; delete the manifests beside it and rerun"
                )
            arrays = {name: store[name] for name in store if name not in OWN}
            arrays = {name: (array.dims[1:], array.shape[1:], array.dtype) for name, array in arrays.items()}
            if arrays != (self.arrays if self._parts else arrays):
                raise CamstudyError(
                    f"{path}: holds other arrays than the parts before it; delete the manifests and rerun"
                )
            self._parts.append((start, stop, store))
            self.n, self.arrays = stop, arrays
        if self.n != n:
            raise CamstudyError(f"{path}: the parts end at image {self.n} of {n}; delete the manifests and rerun")

    @property
    def shape(self) -> tuple[int, int]:
        """Native size (h, w) of the maps."""
        return self._parts[0][2]["heatmap"].shape[1:]

    def maps(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return raw maps of a slice of images or of positions, float32 (k, h, w)."""
        return self._read("heatmap", part)

    def array(self, name: str, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return one of ``arrays``, (k, ...)."""
        return self._read(name, part)

    def names(self) -> np.ndarray:
        """Return the images' names in the dataset, str (n,)."""
        return self._read("image", slice(None)).astype(object)

    @property
    def labels(self) -> np.ndarray:
        """Class indices, int64 (n,)."""
        return self._read("label", slice(None))

    def targets(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return the explained classes, int64 (k,)."""
        return self._read("target", part)

    def boxes(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return the parts of the source images that the model saw, float64 (k, 4), as `ATTRIBUTES` says."""
        if self.attrs["crop_box"] is None:
            return self._read("crop_box", part)
        return np.tile(np.float64(self.attrs["crop_box"]), (len(np.arange(self.n)[part]), 1))

    def _read(self, name: str, part: slice | Sequence[int]) -> np.ndarray:
        wanted = np.arange(self.n)[part]
        first = self._parts[0][2][name]
        values = np.empty((len(wanted), *first.shape[1:]), first.dtype)
        for start, stop, store in self._parts:
            here = (start <= wanted) & (wanted < stop)
            if here.any():
                values[here] = store[name][wanted[here] - start]
        return values
