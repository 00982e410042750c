"""Scores of images, of several models and methods at once: as one long table, or labelled like the maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray

from camstudy.core.errors import CamstudyError
from camstudy.core.finding import find_pairs
from camstudy.core.parts import read_records

GRID = ("model", "method", "image")
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
    tables = _tables(dataset, protocol, models, methods, kind, results)
    frames = []
    for (model, method), frame in tables.items():
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

    >>> from camstudy.explain.reading import open_maps
    >>> both = open_maps("digits_clickme").assign(open_scores("digits_clickme", "human_maps"))
    >>> both["spearman"].dims
    ('model', 'method', 'image')
    """
    tables = _tables(dataset, protocol, models, methods, "", results)
    names = [list(dict.fromkeys(some)) for some in zip(*tables, strict=True)]
    first = next(iter(tables.values())).sort_values("image")
    columns: dict[str, list[np.ndarray]] = {name: [] for name in first if name not in LABELS}
    for (model, method), frame in tables.items():
        order = np.argsort(frame["image"].to_numpy(), kind="stable")
        images = frame["image"].to_numpy()[order]
        if not np.array_equal(images, first["image"]) or len(np.unique(images)) < len(images) or {*frame} != {*first}:
            raise CamstudyError(
                f"protocol `{protocol}`: not one row for each image, or other images or metrics for `{model}` by "
                f"`{method}` than for `{names[0][0]}` by `{names[1][0]}`; read them with `long_scores`"
            )
        for name, values in columns.items():
            values.append(_values(frame[name])[order])
    coords = {"model": names[0], "method": names[1], "image": first["name"].to_numpy(object)}
    if "label" in first:
        coords["label"] = ("image", first["label"].to_numpy())
    shape = (len(names[0]), len(names[1]), len(first))
    variables = {name: (GRID, np.stack(values).reshape(shape)) for name, values in columns.items()}
    return xarray.Dataset(variables, coords, {"dataset": dataset, "protocol": protocol})


def _tables(
    dataset: str,
    protocol: str,
    models: Sequence[str] | None,
    methods: Sequence[str] | None,
    kind: str,
    results: str | Path,
) -> dict[tuple[str, str], pd.DataFrame]:
    """Return the scores by model and method."""
    found = find_pairs(Path(results, "scores", dataset), models, methods, protocol)
    return {pair: read_records(records, kind) for pair, records in found.items()}


def _values(column: pd.Series) -> np.ndarray:
    """Return a column in numpy, one that may lack values as floats."""
    if pd.api.types.is_extension_array_dtype(column.dtype) and not isinstance(column.dtype, pd.StringDtype):
        return column.to_numpy(float, na_value=np.nan)
    return column.to_numpy()
