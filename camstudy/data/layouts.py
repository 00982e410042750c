"""What a user puts where, for datasets that have to be fetched by hand: said by errors and by the documentation."""

from collections.abc import Mapping

LAYOUTS = {
    "imagenet": (
        "put the validation images of ImageNet (ILSVRC2012) there: either folders named by synset (n01440764/*.JPEG, "
        "...; below `val` where there is a folder `train`), or ILSVRC2012_img_val.tar (or its files) with "
        "ILSVRC2012_devkit_t12.tar.gz (or its folder)"
    ),
    "imagenet train": (
        "put the training images of ImageNet (ILSVRC2012) there: a folder `train` with folders named by synset "
        "(train/n01440764/*.JPEG, ...), into which ILSVRC2012_img_train.tar and the archives in it are unpacked"
    ),
    "mit1003": "put ALLSTIMULI.zip and ALLFIXATIONMAPS.zip of MIT1003 (or their folders) there",
    "salicon": "put images.zip and fixations.zip of SALICON (or their folders) there",
    "cat2000": "put trainSet.zip of CAT2000 (or its folder) there",
}


def layout(entry: Mapping) -> str:
    """Return what goes into the `root` of a dataset's catalogue entry."""
    return LAYOUTS["imagenet train" if entry.get("split") == "train" else entry["source"]]
