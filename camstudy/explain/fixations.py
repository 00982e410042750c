"""Maps drawn from scanpaths: as a method that looks draws its own, and again with other settings, without a network."""

from collections.abc import Mapping, Sequence

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.explain.methods import METHODS, bind
from camstudy.explain.store import Heatmaps

# Parameters of a method that say what it sees at once.
EYE = ("fovea_size", "forgetting", "blur_sigma")


def drawn(scanpath: np.ndarray, weight: np.ndarray, *, heat_size: float, side: int) -> np.ndarray:
    """Return maps sum_i w_i exp(-|z - p_i|² / s), float64 (n, side, side).

    Places z, the centers of the pixels, and p_i are in [-1, 1]² as to distance. Steps that are NaN were not taken.

    Parameters
    ----------
    scanpath : (n, steps, 2), rows and columns in fractions of what the model saw
    weight : (n, steps), w_i
    heat_size : s > 0, which is twice the variance
    side : of the maps, in pixels
    """
    if heat_size <= 0:
        raise CamstudyError(f"`heat_size`: a number above 0 is needed, found {heat_size!r}")
    taken = np.isfinite(scanpath).all(2)
    places = 2 * np.where(taken[..., None], scanpath, 0).astype(np.float64) - 1
    centers = (2 * np.arange(side) + 1) / side - 1
    # The Gaussian of a distance in the plane is the product of those of rows and of columns.
    rows, columns = (np.exp(-((places[..., axis, None] - centers) ** 2) / heat_size) for axis in range(2))
    return np.einsum("nt,nti,ntj->nij", np.where(taken, weight, 0), rows, columns)


def redrawn(
    heatmaps: Heatmaps,
    images: slice | Sequence[int] = slice(None),
    *,
    heat_size: float,
    side: int | None = None,
    first: int | None = None,
) -> np.ndarray:
    """Return the maps of stored scanpaths with another ``heat_size``, float64 (n, side, side).

    ``side`` is by default that of the stored maps; with ``first``, only so many steps are drawn, with their weights
    as they are. Raises `CamstudyError` where the method stored no scanpath.
    """
    for name in ("scanpath", "weight"):
        if name not in heatmaps.arrays:
            raise CamstudyError(
                f"maps of `{heatmaps.attrs['method']}`: no array `{name}` beside them; take those of `fovex` or `neva`"
            )
    paths, weights = (heatmaps.array(name, images)[:, :first] for name in ("scanpath", "weight"))
    return drawn(paths, weights, heat_size=heat_size, side=side or heatmaps.shape[0])


def own_heat_size(heatmaps: Heatmaps) -> float:
    """Return the ``heat_size`` that stored maps were drawn with; maps of a method without raise `CamstudyError`."""
    found = heatmaps.attrs["parameters"]
    if "heat_size" not in found:
        raise CamstudyError(
            f"maps of `{heatmaps.attrs['method']}`: no parameter `heat_size`; take those of `fovex` or `neva`"
        )
    return found["heat_size"]


def eye(catalog: Mapping, model: str, method: str) -> dict[str, float] | None:
    """Return the parameters `EYE` of a catalogue's method and ``size``, the side of the model's input; None without."""
    entry = catalog["methods"][method]
    if METHODS[entry["method"]].needs == "dataset":
        return None
    found = bind(entry["method"], entry.get("parameters") or {}).parameters
    size = (catalog["models"][model].get("input") or {}).get("size") or 224
    return {**{name: found[name] for name in EYE}, "size": size} if found.keys() >= {*EYE} else None
