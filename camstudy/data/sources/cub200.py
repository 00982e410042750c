"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011, CNS-TR-2011-001): photographs of birds, one box each."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.data.sources import SOURCES, Archive, Collection, Listing

IMAGES = {"test": 5_794, "train": 5_994}
# https://www.vision.caltech.edu/datasets/cub_200_2011/ leads to CaltechDATA, where anyone may have it. The checksum is
# that of TensorFlow Datasets (url_checksums/caltech_birds2011.txt).
ARCHIVES = {
    "CUB_200_2011.tgz": Archive(
        "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
        "0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
        "https://www.vision.caltech.edu/datasets/cub_200_2011/",
    )
}
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
    archives=lambda entry: ARCHIVES,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images of a split."""
    from camstudy.data.formats.cub import read_cub

    return Collection(*read_cub(root, entry["num_classes"], entry["split"]))
