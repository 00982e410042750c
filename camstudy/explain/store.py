"""The heatmap store: raw maps at native resolution with the class that each one explains."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from camstudy.store import ArraySpec, StoreWriter, open_store

# What every reader may rely on. `reference` names the dataset's array that the maps are compared with, `crop_box` the
# part of the source image that the model saw, as fractions (top, left, bottom, right).
ATTRIBUTES = {"dataset", "model", "method", "parameters", "layer", "target_policy", "crop_box", "reference"}


def heatmap_writer(
    manifest: str | Path,
    *,
    n: int,
    shape: tuple[int, int],
    chunk: int,
    attrs: Mapping[str, object],
    fingerprint: str,
) -> StoreWriter:
    """Open the store of ``manifest`` for ``n`` maps of ``shape``; a partial one with the same fingerprint goes on.

    Arrays: `heatmap` float32 (image, y, x), missing values NaN; `target` int64 (image), missing values -1.
    """
    if attrs.keys() != ATTRIBUTES:
        raise ValueError(f"{manifest}: attributes {sorted(attrs.keys() ^ ATTRIBUTES)} are missing or unknown")
    arrays = {
        "heatmap": ArraySpec("float32", shape, ("y", "x"), fill_value=float("nan")),
        "target": ArraySpec("int64", fill_value=-1),
    }
    return StoreWriter(manifest, n=n, chunk=chunk, arrays=arrays, attrs=attrs, fingerprint=fingerprint)


def read_heatmaps(manifest: str | Path) -> tuple[np.ndarray, np.ndarray, dict]:
    """Return ``(maps, targets, attributes)``: raw float32 (n, h, w), int64 (n,), and `ATTRIBUTES`.

    Maps stay at native resolution, where 50,000 of 7x7 take 10 MB. `camstudy.explain.postprocess.apply` does the
    rest of methods that have a postprocess.
    """
    group = open_store(manifest, require=("heatmap", "target"))
    return group["heatmap"][:], group["target"][:], dict(group.attrs)
