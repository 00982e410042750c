"""ImageNet (arXiv 1409.0575): labelled photographs, of which validation images have boxes on request."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.data.sources import SOURCES, Collection, Listing

IMAGES = {"val": 50_000, "train": 1_281_167}
LAYOUTS = {
    "val": (
        "put the validation images of ImageNet (ILSVRC2012) there: either folders named by synset (n01440764/*.JPEG, "
        "...; below `val` where there is a folder `train`), or ILSVRC2012_img_val.tar (or its files) with "
        "ILSVRC2012_devkit_t12.tar.gz (or its folder)"
    ),
    "train": (
        "put the training images of ImageNet (ILSVRC2012) there: a folder `train` with folders named by synset "
        "(train/n01440764/*.JPEG, ...), into which ILSVRC2012_img_train.tar and the archives in it are unpacked"
    ),
    "boxes": (
        "put the boxes of ImageNet's validation images there, too: ILSVRC2012_bbox_val_v3.tgz or, unpacked into a "
        "folder of this name, its files (ILSVRC2012_bbox_val_v3/val/ILSVRC2012_val_00000001.xml, ...)"
    ),
}


def layout(entry: Mapping) -> str:
    """Return what goes into `root`."""
    text = LAYOUTS[entry.get("split", "val")]
    return f"{text}; and {LAYOUTS['boxes']}" if entry.get("boxes") else text


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images of a split, and the synsets of the classes."""
    from camstudy.data.formats.imagenet import list_imagenet

    found = list_imagenet(root, entry["split"], entry["num_classes"])
    return Listing(len(found.names), found.synsets)


@SOURCES.register(
    "imagenet",
    kind="photographs",
    has=("labels",),
    on_request=("boxes",),
    images=lambda entry: IMAGES[entry.get("split", "val")],
    layout=layout,
    listing=listing,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images of a split."""
    from camstudy.data.formats.imagenet import read_imagenet

    return Collection(*read_imagenet(root, entry["num_classes"], entry["split"], entry["boxes"]))
