"""Pascal VOC 2012 (Everingham et al. 2010, IJCV 88, 303): the images of its classification task, with boxes.

An image has objects of several classes. What is explained is an item: an image and one class that is in it, so that an
image with three classes comes three times, each time with that class's label and boxes.
"""

from pathlib import Path

import numpy as np

from camstudy.core.errors import CamstudyError, MissingFiles, unknown
from camstudy.data.formats.boxes import Object, read_objects
from camstudy.data.formats.files import Files, find
from camstudy.data.formats.photographs import Photograph, mixed

ARCHIVE, FOLDER = "VOCtrainval_11-May-2012", "VOCdevkit/VOC2012"
CLASSES = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]


def read_voc(
    root: str | Path, split: str = "val", keep_difficult: bool = False, label_sets: bool = False
) -> tuple[Files, list[Photograph], list[str]]:
    """Return the files, the items in the order of images and then of classes, and the names of the classes.

    The images are those of ``ImageSets/Main/{split}.txt``; which classes are in them, their annotations say. Labels
    follow the classes' alphabetical order, which is that of the distributors. Boxes are those of all objects of the
    class, counted from 1 in the files with the last pixel included. Items whose objects are all marked as difficult
    are left out, as in TorchRay's pointing game and the task itself, unless ``keep_difficult``; beside others,
    difficult objects count. Images for training (``train`` and ``trainval``) are in a mixed order.

    With ``label_sets``, items know all classes of their image: 1 those that it has an item of, 0 those that are not in
    it, and -1 those of which it has difficult objects alone, as in the lists of the task, which do not count them.

    Raises
    ------
    CamstudyError : the files, the list, an image or an annotation are missing. An annotation that cannot be read or has
        another class costs its image alone.
    """
    files = find(root, ARCHIVE) or find(root, FOLDER) or find(root, "VOC2012")
    above = None if files is None else files.above(f"ImageSets/Main/{split}.txt")
    if above is None:
        where = root if files is None else files.path
        raise MissingFiles(f"{where}: has no ImageSets/Main/{split}.txt")
    ids = files.read(f"{above}ImageSets/Main/{split}.txt").decode(errors="replace").split()
    images = [f"{above}JPEGImages/{name}.jpg" for name in ids]
    annotations = [f"{above}Annotations/{name}.xml" for name in ids]
    missing = [name for name in images + annotations if name not in files.sizes]
    if missing:
        text = f"lacks {len(missing)} files of its list, such as {missing[0]}"
        raise CamstudyError(f"{files.path}: {text}; fetch it again")
    items = []
    for image, annotation, objects in zip(images, annotations, read_objects(files, annotations, first=1), strict=True):
        items += _items(image, objects, f"{files.path}, {annotation}", keep_difficult, label_sets)
    if not items:
        raise CamstudyError(f"{files.path}: ImageSets/Main/{split}.txt lists no image with an object; fetch it again")
    return files, items if split == "val" else mixed(items), CLASSES


def _items(
    image: str, objects: list[Object] | CamstudyError, where: str, keep_difficult: bool, label_sets: bool
) -> list[Photograph]:
    items, found = [], np.zeros(len(CLASSES), np.int8)
    if not isinstance(objects, CamstudyError) and (odd := {item.name for item in objects} - {*CLASSES}):
        objects = CamstudyError(f"{where}: {unknown('class', min(odd), CLASSES)}")
    if isinstance(objects, CamstudyError):
        labels = found if label_sets else None
        return [Photograph(image, boxes=np.empty((0, 4), np.int64), label_set=labels, wrong=objects)]
    for name in sorted({item.name for item in objects}):
        own = [item for item in objects if item.name == name]
        counts = keep_difficult or not all(item.difficult for item in own)
        found[CLASSES.index(name)] = 1 if counts else -1
        if counts:
            boxes = np.array([item.edges for item in own], np.int64)
            labels = found if label_sets else None  # complete after the last class
            items.append(Photograph(image, CLASSES.index(name), boxes=boxes, item=name, label_set=labels))
    return items
