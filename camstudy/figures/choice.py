"""Which images a figure of maps shows."""

from collections.abc import Mapping

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.clickme import select
from camstudy.figures import FigureRecord


def chosen_images(sources: np.ndarray, settings: Mapping, record: FigureRecord) -> np.ndarray:
    """Return the positions in the dataset of the images that a figure shows, int (k,).

    Parameters
    ----------
    sources : the position of the first item of each item's image, (n,)
    settings : the study's ``qualitative``: at most ``n_images`` are drawn by its ``seed``
    record : of the figure; one of items gets the first two items of each image that is drawn, side by side

    Raises `CamstudyError` where no image has two items for a figure of items.
    """
    if not record.items:
        return select(len(sources), min(settings["n_images"], len(sources)), settings["seed"])
    first, second = np.arange(len(sources))[:-1], np.arange(len(sources))[1:]
    # Items of an image follow each other.
    several = first[(sources[first] == first) & (sources[second] == first)]
    if not len(several):
        raise CamstudyError(f"figure `{record.name}`: no image of the dataset has two classes; drop it from `figures`")
    drawn = several[select(len(several), min(settings["n_images"], len(several)), settings["seed"])]
    return np.stack([drawn, drawn + 1], 1).ravel()
