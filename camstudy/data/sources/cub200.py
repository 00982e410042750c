"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011, CNS-TR-2011-001): photographs of birds, one box each."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.data.sources import SOURCES, Collection, Listing

IMAGES = {"test": 5_794, "train": 5_994}
LAYOUT = "put CUB_200_2011.tgz of Caltech-UCSD Birds-200-2011 there, or its folder CUB_200_2011"


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images of a split, and the names of the classes."""
    from camstudy.data.formats.cub import read_cub

    _, photographs, classes = read_cub(root, entry["num_classes"], entry["split"])
    return Listing(len(photographs), classes)


@SOURCES.register(
    "cub200",
    kind="photographs",
    has=("labels", "boxes"),
    images=lambda entry: IMAGES[entry.get("split", "test")],
    layout=lambda entry: LAYOUT,
    listing=listing,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images of a split."""
    from camstudy.data.formats.cub import read_cub

    return Collection(*read_cub(root, entry["num_classes"], entry["split"]))
