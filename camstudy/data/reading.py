"""A dataset as `xarray.Dataset`: what it has of each image, read when it is used."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray

from camstudy.core.lazy import lazy
from camstudy.data.dataset import Dataset, open_dataset

# Attributes that are about the files alone.
TECHNICAL = {"format", "coordinates", "identity"}


def open_data(dataset: str, *, results: str | Path = "results") -> xarray.Dataset:
    """Return a prepared dataset, each array lazily: only what is selected is read, and that at each use.

    All arrays have the dimension ``image``, whose coordinates are the images' names, with ``label`` (-1 where there are
    no classes) and ``class_name`` beside them; `camstudy.data.dataset` says what they are. What differs in size from
    image to image is an array of arrays, dtype object: of photographs ``pixels``, each uint8 (h, w, 3), decoded when
    used, and, where known, ``mask``, each uint8 (h, w); of data with gaze ``fixation``, each float32 (k, 2),
    ``observer`` and ``fixation_order``, each int16 (k,), and ``fixation_duration``, each float32 (k,). ``.item()`` of
    one image is its array. ``box`` has as many places as the image with the most boxes, -1 where there is none.

    Parameters
    ----------
    dataset : its name in the catalogue
    results : the workflow's folder of results

    Raises `CamstudyError` for a dataset that is not there, is incomplete or damaged.

    >>> data = open_data("digits_clickme")
    >>> data["human_map"].sel(image="0.tfrecord#7").shape
    (64, 64)
    """
    manifest, corrected = (Path(results, "data", f"{dataset}{end}.json") for end in ("", ".fixations"))
    found = open_dataset(manifest, [corrected] if corrected.is_file() else [])
    coords = {"image": found.names(), "label": ("image", found.labels)}
    if "class_name" in found.group:
        coords["class_name"] = ("image", found.group["class_name"][:].astype(object))
    ragged = [name for name in found.group if f"{name}_offset" in found.group]
    other = {*coords, *ragged, "image_source", *(f"{name}_offset" for name in ragged)}
    variables = {
        name: lazy(array.dims, array.shape, array.dtype, array.__getitem__)
        for name, array in found.group.items()
        if name not in other
    }
    ways = {"image_file": ("pixels", found.images), "fixation": ("fixation", found.fixations)}
    ways["mask_file"] = ("mask", found.masks)
    ways["observer"] = ("observer", found.observers)
    ways["fixation_order"] = ("fixation_order", found.orders)
    ways["fixation_duration"] = ("fixation_duration", found.durations)
    for stored, (name, read) in ways.items():
        if stored in ragged:
            variables[name] = lazy(["image"], [found.n], object, partial(_objects, read))
    if "box" in ragged:
        most = max(1, int(np.diff(found.group["box_offset"][:]).max()))
        variables["box"] = lazy(["image", "object", "edge"], [found.n, most, 4], int, partial(_boxes, found, most))
    return xarray.Dataset(variables, coords, {k: v for k, v in found.attrs.items() if k not in TECHNICAL})


def _objects(read: Callable[[np.ndarray], Sequence[np.ndarray]], images: np.ndarray) -> np.ndarray:
    """Return arrays of all sizes as one of dtype object (k,)."""
    arrays = read(images)
    found = np.empty(len(arrays), object)
    for position, array in enumerate(arrays):
        found[position] = array
    return found


def _boxes(dataset: Dataset, most: int, images: np.ndarray) -> np.ndarray:
    """Return boxes with ``most`` places for each image, int64 (k, most, 4)."""
    some = dataset.boxes(images)
    boxes = np.full((len(images), most, 4), -1, np.int64)
    boxes[:, : some.shape[1]] = some
    return boxes
