"""MIT1003 (Judd et al. 2009): photographs with the fixations of people who looked at them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from camstudy.data.sources import SOURCES, Archive, Collection, Listing

LAYOUT = "put ALLSTIMULI.zip and DATA.zip of MIT1003 (or their folders) there; without DATA, ALLFIXATIONMAPS.zip"
PAGE = "https://people.csail.mit.edu/tjudd/WherePeopleLook/"
# As the authors' page links them, and as pysaliency's mit.py fetches them, which knows their MD5 alone.
ARCHIVES = {name: Archive(f"{PAGE}{name}", None, PAGE) for name in ("ALLSTIMULI.zip", "DATA.zip")}
LOOKS = ("DATA", "DATA[./]*", "ALLFIXATIONMAPS", "ALLFIXATIONMAPS[./]*")
SIGMA = 35.0  # standard deviation in pixels of about one degree of visual angle


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images."""
    from camstudy.data.formats.gaze import list_mit1003

    return Listing(len(list_mit1003(root).names))


@SOURCES.register(
    "mit1003",
    kind="photographs",
    has=("human_maps", "fixations"),
    images=lambda entry: 1_003,
    layout=lambda entry: LAYOUT,
    listing=listing,
    archives=lambda entry: ARCHIVES,
    looks=lambda entry: LOOKS,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images."""
    from camstudy.data.formats.gaze import fixation_density, read_mit1003

    sigma = entry["sigma"] or SIGMA
    return Collection(*read_mit1003(root), density=partial(fixation_density, sigma=sigma), sigma=sigma)
