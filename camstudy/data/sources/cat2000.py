"""CAT2000 (Borji and Itti 2015, arXiv 1505.03581): photographs with the fixations of people who looked at them."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from camstudy.data.sources import SOURCES, Archive, Collection, Listing

LAYOUT = "put trainSet.zip of CAT2000 (or its folder) there"
# As the benchmark's page links it, and as pysaliency's cat2000.py fetches it, which knows its MD5 alone.
ARCHIVES = {
    "trainSet.zip": Archive(
        "http://saliency.mit.edu/trainSet.zip", None, "http://saliency.mit.edu/results_cat2000.html"
    )
}
SIGMA = 40.0  # standard deviation in pixels of about one degree of visual angle


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images."""
    from camstudy.data.formats.gaze import list_cat2000

    return Listing(len(list_cat2000(root).names))


@SOURCES.register(
    "cat2000",
    kind="photographs",
    has=("human_maps", "fixations"),
    images=lambda entry: 2_000,
    layout=lambda entry: LAYOUT,
    listing=listing,
    archives=lambda entry: ARCHIVES,
    # Of an archive, nothing is known without reading it.
    looks=lambda entry: ("trainSet/*FIXATIONLOCS/*",),
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images."""
    from camstudy.data.formats.gaze import fixation_density, read_cat2000

    sigma = entry["sigma"] or SIGMA
    return Collection(*read_cat2000(root), density=partial(fixation_density, sigma=sigma), sigma=sigma)
