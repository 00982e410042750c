"""What a user puts where, for datasets that have to be fetched by hand: said by errors and by the documentation."""

LAYOUTS = {
    "imagenet": (
        "put the validation images of ImageNet (ILSVRC2012) there: either folders named by synset (n01440764/*.JPEG, "
        "...), or ILSVRC2012_img_val.tar (or its files) with ILSVRC2012_devkit_t12.tar.gz (or its folder)"
    ),
    "mit1003": "put ALLSTIMULI.zip and ALLFIXATIONMAPS.zip of MIT1003 (or their folders) there",
    "salicon": "put images.zip and fixations.zip of SALICON (or their folders) there",
    "cat2000": "put trainSet.zip of CAT2000 (or its folder) there",
}
