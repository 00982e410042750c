"""Scores of images, of several models and methods at once: as one long table, or labelled like the maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray

from camstudy.core.errors import CamstudyError
from camstudy.core.finding import find_pairs
from camstudy.core.parts import read_records

LABELS = ("image", "name", "label", "target")


def long_scores(
    dataset: str,
    protocol: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    *,
    kind: str = "",
    results: str | Path = "results",
) -> pd.DataFrame:
    """Return the scores of a protocol as one table: ``model``, ``method``, then the columns of the files.

    Parameters
    ----------
    dataset, protocol : names in the catalogue
    models, methods : names; None takes all that are scored, but for the maps of the model `control`
    kind : of scores with several rows for each image, such as `curves` or `stages`; nothing for the others
    results : the workflow's folder of results

    Raises `CamstudyError` for scores that are not there or lack images.
    """
    found = find_pairs(Path(results, "scores", dataset), models, methods, protocol)
    frames = []
    for (model, method), records in found.items():
        frame = read_records(records, kind)
        frame.insert(0, "model", model)
        frame.insert(1, "method", method)
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def open_scores(
    dataset: str,
    protocol: str,
    models: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    *,
    results: str | Path = "results",
) -> xarray.Dataset:
    """Return the scores of a protocol, each metric (model, method, image), for the maps to be joined with.

    Images are named as those of the maps and in their order; of a sample, those of the sample. What is true, false or
    missing becomes 1, 0 or NaN. For the parameters and errors, see `long_scores`; a protocol that has several rows for
    each image is a `CamstudyError`.

    >>> scores = open_scores("digits_clickme", "human_maps")  # doctest: +SKIP
    >>> both = open_maps("digits_clickme").assign(scores)  # doctest: +SKIP
    """
    frame = long_scores(dataset, protocol, models, methods, results=results)
    images = frame.drop_duplicates("image").sort_values("image")
    names = {key: list(dict.fromkeys(frame[key])) for key in ("model", "method")}
    shape = (*map(len, names.values()), len(images))
    if len(frame) != np.prod(shape):
        raise CamstudyError(
            f"protocol `{protocol}`: {len(frame)} rows are not one for each of {shape[0]} models, {shape[1]} methods "
            f"and {shape[2]} images; read them with `long_scores`"
        )
    coords = {**names, "image": images["name"].to_numpy(object)}
    if "label" in images:
        coords["label"] = ("image", images["label"].to_numpy())
    # In the order of the files, which is that of models and methods, images sorted within.
    frame = frame.assign(row=np.arange(len(frame)) // shape[2]).sort_values(["row", "image"])
    variables = {
        name: ((*names, "image"), _values(column).reshape(shape))
        for name, column in frame.items()
        if name not in {*names, *LABELS, "row"}
    }
    return xarray.Dataset(variables, coords, {"dataset": dataset, "protocol": protocol})


def _values(column: pd.Series) -> np.ndarray:
    """Return a column in numpy, one that may lack values as floats."""
    if pd.api.types.is_extension_array_dtype(column.dtype) and not isinstance(column.dtype, pd.StringDtype):
        return column.to_numpy(float, na_value=np.nan)
    return column.to_numpy()
