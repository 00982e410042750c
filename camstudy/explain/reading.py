"""Maps of models and methods as one `xarray.Dataset`, read when they are used, with what the models predict."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import xarray

from camstudy.core.errors import CamstudyError, unknown
from camstudy.core.finding import find_pairs
from camstudy.core.geometry import resample_in_boxes, within
from camstudy.core.lazy import lazy
from camstudy.core.names import CONTROL
from camstudy.core.parts import read_records
from camstudy.core.store import ArraySpec
from camstudy.explain.postprocess import apply
from camstudy.explain.store import Heatmaps

GRID = ("model", "method", "image")
Manifests = Mapping[tuple[str, str], Sequence[str | Path]]


def open_maps(
    dataset: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    *,
    size: int | tuple[int, int] | None = None,
    postprocess: Mapping[str, Mapping[str, float]] | None = None,
    arrays: Sequence[str] | None = None,
    prediction: bool = True,
    results: str | Path = "results",
) -> xarray.Dataset:
    """Return the maps of a dataset, lazily: only what is selected is read, and that at each use.

    - ``heatmap`` float32 (model, method, image, y, x), raw unless ``postprocess`` says otherwise
    - ``target`` int64 (model, method, image), the class that a map explains, -1 of a control where there are no classes
    - ``predicted`` int64 (model, image), the class with the largest logit, and ``probability`` float64, that of the
      label; -1 and NaN of the model `control`
    - ``view`` float64 (image, edge): the part of the image that the maps show, as top, left, bottom, right in
      fractions; coordinates ``y`` and ``x`` are fractions of it
    - coordinates of images: ``image``, their names, and ``label``
    - coordinates of maps: ``native_y`` and ``native_x`` (model, method), their sizes as stored
    - the arrays that methods have stored beside their maps (model, method, image, ...), with no value (NaN, the
      smallest signed or the largest unsigned integer) for methods that have none of that name

    Parameters
    ----------
    dataset : its name in the catalogue
    models, methods : names; None takes all of which there are maps, but for the maps that ignore the model, which are
        those of the model `control`
    size : height and width, or the side of squares, to which maps are resampled bilinearly, over the part of each image
        that all of the models saw. None leaves them as they are stored, which is refused where their sizes or the parts
        seen differ.
    postprocess : of methods that have one, by name, such as ``{"threshold_gradcam": {"floor": 0.3}}``; applied before
        resampling
    arrays : names of those beside the maps that are wanted; None takes all
    prediction : whether to join what the models predict
    results : the workflow's folder of results

    Raises `CamstudyError` for maps or predictions that are not there, are incomplete, damaged or of other images, and
    for sizes that differ without ``size``.

    `sel` of xarray has a parameter ``method`` of another meaning: write ``maps.sel({"method": "gradcam"})``, never
    ``maps.sel(method="gradcam")``.

    >>> maps = open_maps("digits_clickme", ["resnet_mini"], ["gradcam"])
    >>> maps["heatmap"].sel(image="0.tfrecord#7").dims
    ('model', 'method', 'y', 'x')
    """
    manifests = find_pairs(Path(results, "heatmaps", dataset), models, methods)
    found = label_maps(manifests, size=size, postprocess=postprocess, arrays=arrays)
    if not prediction:
        return found
    return found.assign(_predictions(found["model"].values, Path(results, "scores", dataset), found["image"].values))


def label_maps(
    manifests: Manifests,
    *,
    size: int | tuple[int, int] | None = None,
    postprocess: Mapping[str, Mapping[str, float]] | None = None,
    arrays: Sequence[str] | None = None,
) -> xarray.Dataset:
    """Return maps as `open_maps` does, without predictions, from the manifests of each model and method.

    Every model needs every method.
    """
    stores = {key: Heatmaps(files) for key, files in manifests.items()}
    grid = _Grid(stores, (size, size) if isinstance(size, int) else size, postprocess or {})
    coords = {
        **{"model": grid.models, "method": grid.methods, "image": grid.names, "label": ("image", grid.labels)},
        **{axis: (np.arange(side) + 0.5) / side for axis, side in zip("yx", grid.shape, strict=True)},
    }
    for axis, position in (("native_y", 0), ("native_x", 1)):
        coords[axis] = (GRID[:2], [[stores[a, b].shape[position] for b in grid.methods] for a in grid.models])
    variables = {
        "heatmap": grid.variable("heatmap", ("y", "x"), grid.shape, np.dtype(np.float32)),
        "target": grid.variable("target", (), (), np.dtype(np.int64)),
        "view": (("image", "edge"), grid.view),
    }
    for name, (dims, shape, dtype) in grid.beside(arrays).items():
        variables[name] = grid.variable(name, dims, shape, dtype)
    return xarray.Dataset(variables, coords, {"dataset": next(iter(stores.values())).attrs["dataset"]})


class _Grid:
    """Stores of the same images by model and method, and the part of the images and the size that they are read in."""

    def __init__(self, stores: Mapping, size: tuple[int, int] | None, postprocess: Mapping) -> None:
        self._stores, self._size, self._postprocess = stores, size, postprocess
        self.models, self.methods = (list(dict.fromkeys(names)) for names in zip(*stores, strict=True))
        for name in postprocess:
            if name not in self.methods:
                raise unknown("method in `postprocess`:", name, self.methods)
        (where, first), *others = stores.items()
        self.names, self.labels = first.names(), first.labels
        self._seen = {key: _seen(store) for key, store in stores.items()}
        self.view = self._seen[where]
        for key, store in others:
            if not np.array_equal(store.names(), self.names):
                raise CamstudyError(
                    f"maps of {_name(key)} are of other images than those of {_name(where)}; open each alone"
                )
            if size is None and (store.shape != first.shape or not np.array_equal(self._seen[key], self.view)):
                raise CamstudyError(
                    f"maps of {_name(where)} have size {first.shape}, of {_name(key)} {store.shape}, and the models "
                    f"see {_part(self.view)} and {_part(self._seen[key])} of the first image; give `size`, such as "
                    "(224, 224), to which all are resampled where all look"
                )
            low, high = (pick(self._seen[key], self.view) for pick in (np.maximum, np.minimum))
            self.view = np.concatenate([low[:, :2], high[:, 2:]], axis=1)
        self.shape = size or first.shape

    def beside(self, wanted: Sequence[str] | None) -> dict[str, tuple[tuple, tuple, np.dtype]]:
        """Return dimensions, shape of an image's piece and dtype of the arrays beside the maps."""
        found: dict[str, tuple] = {}
        for key, store in self._stores.items():
            for name, facts in store.arrays.items():
                if wanted is not None and name not in wanted:
                    continue
                dims, shape, dtype = facts
                if dims[-2:] == ("y", "x"):
                    facts = (dims, (*shape[:-2], *self.shape), dtype)
                if found.setdefault(name, facts) != facts:
                    raise CamstudyError(
                        f"array `{name}` of {_name(key)} is {dtype} {facts[1]}, of others {found[name][2]} "
                        f"{found[name][1]}; name in `arrays` those that you want, or open each alone"
                    )
        for name in wanted or ():
            if name not in found:
                raise CamstudyError(f"no method has the array `{name}`; there are: {', '.join(found) or 'none'}")
        return found

    def variable(self, name: str, dims: tuple, shape: tuple, dtype: np.dtype) -> xarray.Variable:
        """Return an array of the stores, lazily."""
        whole = (len(self.models), len(self.methods), len(self.names), *shape)
        return lazy((*GRID, *dims), whole, dtype, partial(self._read, name, dims, shape, dtype), asked=3)

    def _read(self, name: str, dims: tuple, shape: tuple, dtype: np.dtype, *wanted: np.ndarray) -> np.ndarray:
        values = np.empty((*map(len, wanted), *shape), dtype)
        models, methods, images = wanted
        if len(images):
            for i, j in np.ndindex(len(models), len(methods)):
                key = self.models[models[i]], self.methods[methods[j]]
                values[i, j] = self._one(key, name, dims, dtype, images)
        return values

    def _one(self, key: tuple[str, str], name: str, dims: tuple, dtype: np.dtype, images: np.ndarray) -> np.ndarray:
        store = self._stores[key]
        if name == "target":
            return store.targets(images)
        if name == "heatmap":
            values = apply(store.maps(images), self._postprocess.get(key[1], {}))
        elif name in store.arrays:
            values = store.array(name, images)
        else:
            return np.array(ArraySpec(dtype.name).fill_value, dtype)
        if self._size is None or dims[-2:] != ("y", "x"):
            return values
        boxes = np.stack(within(self.view[images].T, self._seen[key][images].T), axis=1)
        return resample_in_boxes(values, boxes, self._size)


def _seen(store: Heatmaps) -> np.ndarray:
    """Return the parts of the images that a model saw, float64 (n, 4); one for all takes no memory for each."""
    box = store.attrs["crop_box"]
    return store.boxes() if box is None else np.broadcast_to(np.float64(box), (store.n, 4))


def _name(key: tuple[str, str]) -> str:
    return f"`{key[0]}` by `{key[1]}`"


def _part(view: np.ndarray) -> str:
    return f"({', '.join(f'{edge:.3g}' for edge in view[0])})"


def _predictions(models: Sequence[str], scores: Path, names: np.ndarray) -> dict[str, tuple[tuple, np.ndarray]]:
    """Return ``predicted`` and ``probability`` (model, image)."""
    predicted = np.full((len(models), len(names)), -1, np.int64)
    probability = np.full((len(models), len(names)), np.nan)
    for row, model in enumerate(models):
        if model == CONTROL:
            continue
        record = scores / model / "prediction.json"
        if not record.exists():
            raise CamstudyError(f"{record}: no such file; ask Snakemake for it, or say `prediction=False`")
        frame = read_records([record]).sort_values("image")
        if frame["name"].tolist() != names.tolist():
            raise CamstudyError(f"{record}: predictions of other images than the maps'; delete it and rerun")
        predicted[row], probability[row] = frame["predicted"], frame["probability"]
    return {"predicted": (("model", "image"), predicted), "probability": (("model", "image"), probability)}
