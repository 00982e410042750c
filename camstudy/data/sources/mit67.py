"""MIT-67 Indoor Scenes (Quattoni and Torralba 2009, CVPR): photographs of 67 kinds of rooms, without labels."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.data.sources import SOURCES, Archive, Collection, Listing

IMAGES = {"train": 80, "test": 20}  # of each scene
SCENES = 67
# https://web.mit.edu/torralba/www/indoor.html links the three, for research purposes, and states no checksums.
PAGE = "https://web.mit.edu/torralba/www/indoor.html"
ARCHIVES = {
    "indoorCVPR_09.tar": Archive("http://groups.csail.mit.edu/vision/LabelMe/NewImages/indoorCVPR_09.tar", page=PAGE),
    "TrainImages.txt": Archive("http://web.mit.edu/torralba/www/TrainImages.txt", page=PAGE),
    "TestImages.txt": Archive("http://web.mit.edu/torralba/www/TestImages.txt", page=PAGE),
}
LAYOUT = "put indoorCVPR_09.tar of MIT's Indoor Scenes (or its folder), TrainImages.txt and TestImages.txt there"


def _images(entry: Mapping) -> int:
    each = entry.get("images_per_scene") or IMAGES[entry.get("split", "test")]
    return each * len(entry.get("scenes") or range(SCENES))


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images."""
    return Listing(len(read(entry, root).photographs))


@SOURCES.register(
    "mit67",
    kind="photographs",
    has=(),
    images=_images,
    layout=lambda entry: LAYOUT,
    listing=listing,
    archives=lambda entry: ARCHIVES,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images of a split, or of some of its scenes."""
    from camstudy.data.formats.mit67 import read_mit67

    return Collection(*read_mit67(root, entry["split"], entry["scenes"], entry["images_per_scene"]))
