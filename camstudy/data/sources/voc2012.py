"""Pascal VOC 2012 (Everingham et al. 2010, IJCV 88, 303): photographs with boxes of objects of 20 classes."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.data.sources import SOURCES, Archive, Collection, Listing

# Items: an image counts once for each class that is in it.
IMAGES = {"val": 8_400, "train": 8_400, "trainval": 16_700}
# Linked on http://host.robots.ox.ac.uk/pascal/VOC/voc2012/ without registration (of the test images one is asked). The
# checksum is that of TensorFlow Datasets (url_checksums/voc.txt).
ARCHIVES = {
    "VOCtrainval_11-May-2012.tar": Archive(
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
    )
}
LAYOUT = "put VOCtrainval_11-May-2012.tar of Pascal VOC 2012 there, or the folder VOCdevkit/VOC2012 of its files"


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images of a split, and the names of the classes."""
    from camstudy.data.formats.voc import read_voc

    _, items, classes = read_voc(root, entry["split"], entry["keep_difficult"])
    return Listing(len(items), classes)


@SOURCES.register(
    "voc2012",
    kind="photographs",
    has=("labels", "boxes"),
    images=lambda entry: IMAGES[entry.get("split", "val")],
    layout=lambda entry: LAYOUT,
    listing=listing,
    archives=lambda entry: ARCHIVES,
    items=lambda entry: True,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the items of a split."""
    from camstudy.data.formats.voc import read_voc

    return Collection(*read_voc(root, entry["split"], entry["keep_difficult"], entry.get("label_sets", False)))
