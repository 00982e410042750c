"""Fixations of one's own: a folder of images with a CSV file of who looked where."""

from collections.abc import Mapping
from functools import partial
from glob import escape
from pathlib import Path

from camstudy.data.sources import SOURCES, Collection, Listing

IMAGES = 100


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images."""
    from camstudy.data.formats.gaze_table import list_table

    return Listing(len(list_table(root, entry["table"])[1]))


@SOURCES.register(
    "gaze_table",
    kind="photographs",
    has=("human_maps", "fixations"),
    images=lambda entry: IMAGES,
    layout=lambda entry: f"put images and {entry['table']} there",
    listing=listing,
    looks=lambda entry: (escape(entry["table"]),),
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images."""
    from camstudy.data.formats.gaze import fixation_density
    from camstudy.data.formats.gaze_table import read_table

    about = {"density": partial(fixation_density, sigma=entry["sigma"]), "sigma": entry["sigma"], "upright": True}
    return Collection(*read_table(root, entry["table"]), **about)
