"""ImageNet (Russakovsky et al. 2015, arXiv 1409.0575): training and validation images, as folders or as distributed.

Labels follow the sorted synset names, the order of the classes in timm's and torchvision's weights.
"""

import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from camstudy.core.errors import CamstudyError, MissingFiles
from camstudy.data.formats.boxes import read_objects
from camstudy.data.formats.files import IMAGES as ENDINGS
from camstudy.data.formats.files import OTHERS, Files, Root, find
from camstudy.data.formats.photographs import Photograph, mixed
from camstudy.data.synsets import imagenet_synsets, synset_names

IMAGES, DEVKIT, BOXES = "ILSVRC2012_img_val", "ILSVRC2012_devkit_t12", "ILSVRC2012_bbox_val_v3"
SYNSET = re.compile(r"n\d{8}")
SHOWN = 10  # names in a message


def read_imagenet(
    root: str | Path, num_classes: int = 1000, split: str = "val", boxes: bool = False
) -> tuple[Files, list[Photograph], list[str]]:
    """Return the files, the images in their order, and the names of the classes.

    Of the validation images (``split="val"``) two layouts are understood: folders named by synset, whose sorted names
    are the classes, or some of ImageNet-1k's where ``num_classes`` is 1000; and the distributed archives or their
    content, where the development kit has the true class of every image. Their order is that of the file names.
    Training images (``split="train"``) are in folders named by synset, and their order mixes the classes.

    With ``boxes``, validation images have those of `BOXES`: of all objects of their class, counted from 0 in the files
    with the last pixel included. Objects of other classes do not count.

    Raises
    ------
    CamstudyError : there are no images, the development kit is missing or lacks something, training images are in
        no class's folder, or the number of classes is not ``num_classes``; training images are to have boxes, or an
        image has no annotation. One that cannot be read or has no object of its class costs its image alone.
    """
    if boxes and split == "train":
        raise CamstudyError(f"{root}: boxes are known of validation images only; leave out `boxes` or `split: train`")
    listed = list_imagenet(root, split, num_classes)
    names, labels = listed.names, listed.labels
    if len(listed.synsets) != num_classes:
        whole = {*(imagenet_synsets() or listed.synsets)}
        odd = [synset for synset in listed.synsets if synset not in whole]
        of_others = f" ({', '.join(odd[:SHOWN])} is none of ImageNet-1k's)" if num_classes == len(whole) and odd else ""
        raise CamstudyError(
            f"{root}: has {len(listed.synsets)} classes, expected {num_classes}: labels follow the sorted synsets and "
            f"mean nothing if some are missing{of_others}; complete the folders, or set `num_classes` for models of "
            "fewer classes"
        )
    found = [(None, None)] * len(names)
    if boxes:
        found = _read_boxes(root, names, [listed.synsets[label] for label in labels])
    each = zip(names, labels, found, strict=True)
    photographs = [Photograph(name, label, boxes=box, wrong=wrong) for name, label, (box, wrong) in each]
    return listed.files, mixed(photographs) if split == "train" else photographs, listed.class_names


class Listed(NamedTuple):
    """The images of a split in their order, names and labels; and by label, synsets and names of the classes."""

    files: Files
    names: list[str]
    labels: list[int]
    synsets: list[str]
    class_names: list[str]


def list_imagenet(root: str | Path, split: str = "val", num_classes: int | None = None) -> Listed:
    """Return the images of a split with their labels, from names and the development kit alone, as `read_imagenet`.

    Folders of some of ImageNet-1k's synsets have their labels there if ``num_classes`` is 1000; with another number
    the classes are those that are there. Images may lie deeper, as in Tiny ImageNet.
    """
    files = _find_train(root) if split == "train" else _find_val(root)
    # Not by folder: the first images would otherwise be those of the first classes.
    names = sorted(files.endswith(*ENDINGS, *OTHERS), key=lambda name: PurePosixPath(name).name)
    if not names:
        raise MissingFiles(f"{root}: no images found")
    places = [_place(name) for name in names]
    folders = [folder for _, folder in places]
    foreign = next((name for name, folder in zip(names, folders, strict=True) if not folder), None)
    above = sorted({place for place, folder in places if folder})
    if split == "val" and len(above) > 1 and any(place.startswith("train") for place in above):
        places = ", ".join(place or "." for place in above[:SHOWN])
        raise CamstudyError(
            f"{files.path}: has folders named by synset in {places}; name as `root` that of the validation images alone"
        )
    if foreign and above:
        raise CamstudyError(f"{files.path}, {foreign}: in no folder named by synset, as others are; move it there")
    if foreign is None:
        synsets, whole = sorted(set(folders)), imagenet_synsets() or ()
        if num_classes == len(whole) and {*synsets} <= {*whole}:
            synsets = [*whole]
        words = [synset_names().get(synset, synset) for synset in synsets]
        label = {synset: index for index, synset in enumerate(synsets)}
        return Listed(files, names, [label[folder] for folder in folders], synsets, words)
    if split == "train":
        raise MissingFiles(f"{files.path}, {foreign}: in no folder named by synset")
    synsets, class_names, truth = _read_devkit(root)
    # In a folder, one may have put a part of them.
    if files.is_archive and len(names) != len(truth):
        raise CamstudyError(
            f"{files.path}: has {len(names)} images, but the development kit knows {len(truth)}; fetch it again, or "
            "extract a part of the images"
        )
    return Listed(files, names, [truth[_number(name, len(truth)) - 1] for name in names], synsets, class_names)


def _read_boxes(
    root: str | Path, names: list[str], synsets: list[str]
) -> list[tuple[np.ndarray, CamstudyError | None]]:
    """Return the boxes of each image, int64 (k, 4), of its objects that are of its class; and why it has none."""
    files = find(root, BOXES)
    if files is None:
        raise MissingFiles(f"{root}: has no {BOXES}")
    known = {PurePosixPath(name).stem: name for name in files.endswith(".xml")}
    missing = [name for name in names if PurePosixPath(name).stem not in known]
    if missing:
        raise CamstudyError(f"{files.path}: no boxes of {len(missing)} images, such as {missing[0]}; fetch it again")
    annotations = [known[PurePosixPath(name).stem] for name in names]
    found = []
    for name, synset, objects in zip(annotations, synsets, read_objects(files, annotations, first=0), strict=True):
        wrong = objects if isinstance(objects, CamstudyError) else None
        edges = [] if wrong else [item.edges for item in objects if item.name == synset]
        if not edges and not wrong:
            others = ", ".join(sorted({item.name for item in objects})) or "none"
            wrong = CamstudyError(
                f"{files.path}, {name}: no object of the image's class {synset}, found {others}; boxes and classes do "
                "not belong together: take both of one origin"
            )
        found.append((np.array(edges, np.int64).reshape(-1, 4), wrong))
    return found


def _find_train(root: str | Path) -> Files:
    files = find(root, "train")
    if files is None:
        raise MissingFiles(f"{root}: has no `train`")
    return files


def _find_val(root: str | Path) -> Files:
    files = find(root, IMAGES) or find(root, "val")
    if files is None and Path(root, "train").is_dir():
        raise MissingFiles(f"{root}: has `train`, but neither {IMAGES} nor `val`")
    return files or (root if isinstance(root, Root) else Root(root)).open("")


def _place(name: str) -> tuple[str, str]:
    """Return the folder above that of a synset which an image is in, and the synset; empty texts without."""
    parts = name.split("/")[:-1]
    at = next((at for at in reversed(range(len(parts))) if SYNSET.fullmatch(parts[at])), None)
    return ("", "") if at is None else ("/".join(parts[:at]), parts[at])


def _number(name: str, n: int) -> int:
    """Return the number of an image as distributed: ILSVRC2012_val_00000001.JPEG is 1."""
    found = re.search(r"_(\d{8})\.\w+$", name)
    if found is None or not 1 <= int(found[1]) <= n:
        raise CamstudyError(f"{name}: expected a name like ILSVRC2012_val_00000001.JPEG with a number of 1 to {n}")
    return int(found[1])


def _read_devkit(root: str | Path) -> tuple[list[str], list[str], list[int]]:
    """Return the synsets of the classes, sorted, the names of these, and the label of every validation image."""
    files = find(root, DEVKIT)
    if files is None:
        raise MissingFiles(f"{root}: images in no folders named by synset, and no {DEVKIT}")
    names = []
    for ending in ("data/meta.mat", "data/ilsvrc2012_validation_ground_truth.txt"):
        names.append(next(files.endswith(ending), None))
        if names[-1] is None:
            raise CamstudyError(f"{files.path}: has no {ending}; fetch {DEVKIT}.tar.gz again")
    synsets = np.atleast_1d(files.read_matlab(names[0], "synsets")["synsets"])
    try:
        # The others are inner nodes of the hierarchy, for which there are no images.
        leaves = sorted(
            (str(row["WNID"]), int(row["ILSVRC2012_ID"]), str(row["words"]))
            for row in synsets
            if int(row["num_children"]) == 0
        )
        label = {number: index for index, (_, number, _) in enumerate(leaves)}
        truth = [label[int(line)] for line in files.read(names[1]).decode().split()]
    except (ValueError, LookupError, TypeError) as error:
        raise CamstudyError(
            f"{files.path}: meta.mat and the ground truth do not fit together ({type(error).__name__}: {error}); "
            f"fetch {DEVKIT}.tar.gz again"
        ) from None
    return [synset for synset, _, _ in leaves], [words for _, _, words in leaves], truth
