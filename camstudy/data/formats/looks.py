"""Writing where people looked at images of a dataset that is there: fixations and their density, in a store apart."""

from __future__ import annotations

from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.data.dataset import Dataset
from camstudy.data.formats.photographs import DENSITY_SIZE, gaze_arrays, gaze_specs

if TYPE_CHECKING:
    from camstudy.data.sources import Collection


def write_looks(manifest: str | Path, dataset: Dataset, found: Collection, *, identity: str, chunk: int = 64) -> None:
    """Write the fixations of a dataset's images, as a source has them now, to the store of ``manifest``.

    The arrays are `camstudy.data.dataset.GAZE` and the names of the images. Raises `CamstudyError` for an image that
    the source has no longer, and says how many fixations lie outside of their images.
    """
    known, names = {item.name: item for item in found.photographs}, list(dataset.names())
    if missing := [name for name in names if name not in known]:
        raise CamstudyError(
            f"{found.files.path}: fixations of {len(missing)} images of {dataset.path} are gone, such as those of "
            f"{missing[0]}; put them back, or delete {dataset.path} and its manifest to prepare what is there"
        )
    items = [known[name] for name in names]
    offsets = np.array([*accumulate((len(item.fixations) for item in items), initial=0)], np.int64)
    arrays = gaze_specs(offsets) | {"human_map": ArraySpec("float32", DENSITY_SIZE, ("map_y", "map_x"))}
    fixed, sizes = {"image": (("image",), names)}, dataset.sizes
    writer = StoreWriter(manifest, n=len(items), chunk=chunk, arrays=arrays, attrs={}, identity=identity, fixed=fixed)
    for part in writer.pending():
        shapes = zip(items[part], map(tuple, sizes[part]), strict=True)
        density = np.stack([found.density(item.fixations, shape) for item, shape in shapes])
        writer.write(part, human_map=density, **gaze_arrays(items[part]))
    if outside := sum(item.outside for item in items):
        print(f"{outside} fixations lie outside of their images and were left out")
    writer.finish()
