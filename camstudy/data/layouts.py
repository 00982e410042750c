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
    "imagenet boxes": (
        "put the boxes of ImageNet's validation images there, too: ILSVRC2012_bbox_val_v3.tgz or, unpacked into a "
        "folder of this name, its files (ILSVRC2012_bbox_val_v3/val/ILSVRC2012_val_00000001.xml, ...)"
    ),
    "voc2012": "put VOCtrainval_11-May-2012.tar of Pascal VOC 2012 there, or the folder VOCdevkit/VOC2012 of its files",
    "cub200": "put CUB_200_2011.tgz of Caltech-UCSD Birds-200-2011 there, or its folder CUB_200_2011",
    "mit1003": "put ALLSTIMULI.zip and ALLFIXATIONMAPS.zip of MIT1003 (or their folders) there",
    "salicon": "put images.zip and fixations.zip of SALICON (or their folders) there",
    "cat2000": "put trainSet.zip of CAT2000 (or its folder) there",
}


def layout(entry: Mapping) -> str:
    """Return what goes into the `root` of a dataset's catalogue entry."""
    text = LAYOUTS.get(f"{entry['source']} {entry.get('split')}", LAYOUTS[entry["source"]])
    return f"{text}; and {LAYOUTS['imagenet boxes']}" if entry.get("boxes") else text
