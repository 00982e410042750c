"""SALICON (Jiang et al. 2015): photographs with the fixations of people who looked at them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from camstudy.data.sources import SOURCES, Collection, Listing

LAYOUT = "put images.zip and fixations.zip of SALICON (or their folders) there"
SIGMA = 19.0  # standard deviation in pixels of about one degree of visual angle


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images."""
    from camstudy.data.formats.gaze import list_salicon

    return Listing(len(list_salicon(root).names))


@SOURCES.register(
    "salicon",
    kind="photographs",
    has=("human_maps", "fixations"),
    images=lambda entry: 15_000,
    layout=lambda entry: LAYOUT,
    listing=listing,
    # Images without are left out. Of an archive, nothing is known without reading it.
    looks=lambda entry: ("fixations/*",),
    names_count=True,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images."""
    from camstudy.data.formats.gaze import fixation_density, read_salicon

    sigma = entry["sigma"] or SIGMA
    return Collection(*read_salicon(root), density=partial(fixation_density, sigma=sigma), sigma=sigma)
