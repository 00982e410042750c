"""Caltech-UCSD Birds-200-2011 (Wah et al. 2011, CNS-TR-2011-001): photographs of birds, one box each."""

from pathlib import Path

import numpy as np

from camstudy.core.errors import CamstudyError, MissingFiles
from camstudy.data.formats.boxes import LIMIT
from camstudy.data.formats.files import Files, find
from camstudy.data.formats.photographs import Photograph, mixed

NAME = "CUB_200_2011"
# The distributors' lists and the number of values after the number of the image, or of the class.
COLUMNS = {"classes": 1, "images": 1, "image_class_labels": 1, "train_test_split": 1, "bounding_boxes": 4}


def read_cub(
    root: str | Path, num_classes: int = 200, split: str = "test"
) -> tuple[Files, list[Photograph], list[str]]:
    """Return the files, the images of a split (``train`` or ``test``) by their number, and the names of the classes.

    Training images are in an order that mixes the classes. Labels are the numbers of the classes less one. A box of x,
    y, width and height has the edges x and x + width, y and y + height, counted from 0 and rounded to whole pixels.

    Raises
    ------
    CamstudyError : a list or an image is missing, the lists do not fit together, or the number of classes is not
        ``num_classes``.
    """
    files = find(root, NAME)
    above = None if files is None else files.above("images.txt")
    if above is None:
        raise MissingFiles(f"{root}: has no {NAME} with images.txt")
    rows = {name: _read_list(files, f"{above}{name}.txt", columns) for name, columns in COLUMNS.items()}
    classes = rows.pop("classes")
    if sorted(classes) != list(range(1, num_classes + 1)):
        raise CamstudyError(
            f"{files.path}, {above}classes.txt: has {len(classes)} classes, expected 1 to {num_classes}; fetch it "
            "again, or set `num_classes` for models of fewer classes"
        )
    for name in rows:
        odd = sorted(rows[name].keys() ^ rows["images"].keys())
        if odd:
            raise CamstudyError(
                f"{files.path}, {above}{name}.txt: has other images than images.txt, such as {odd[0]}; fetch it again"
            )
    photographs = []
    for number, (image,) in sorted(rows["images"].items()):
        is_train = _integer(files, f"{above}train_test_split.txt", rows["train_test_split"][number], 0, 1)
        label = _integer(files, f"{above}image_class_labels.txt", rows["image_class_labels"][number], 1, num_classes)
        if is_train == (split == "train"):
            box, wrong = _edges(files, f"{above}bounding_boxes.txt", number, rows["bounding_boxes"][number])
            photographs.append(Photograph(f"{above}images/{image}", label - 1, boxes=box, wrong=wrong))
    missing = [item.name for item in photographs if item.name not in files.sizes]
    if missing or not photographs:
        what = f"lacks {len(missing)} images of images.txt, such as {missing[0]}" if missing else f"no {split} images"
        raise CamstudyError(f"{files.path}: {what}; fetch it again")
    names = [classes[number][0].partition(".")[2].replace("_", " ") for number in sorted(classes)]
    return files, mixed(photographs) if split == "train" else photographs, names


def _read_list(files: Files, name: str, columns: int) -> dict[int, list[str]]:
    """Return the values of a list's lines by the number that they begin with."""
    if name not in files.sizes:
        raise CamstudyError(f"{files.path}: has no {name}; fetch it again")
    rows = {}
    for line in files.read(name).decode(errors="replace").splitlines():
        number, *values = line.split() or [""]
        if not number.isdecimal() or len(values) != columns or int(number) in rows:
            raise CamstudyError(
                f"{files.path}, {name}: found the line {line!r}, expected a new number and {columns} values; "
                "fetch it again"
            )
        rows[int(number)] = values
    return rows


def _integer(files: Files, name: str, values: list[str], low: int, high: int) -> int:
    if not values[0].isdecimal() or not low <= int(values[0]) <= high:
        raise CamstudyError(f"{files.path}, {name}: found {values[0]}, expected {low} to {high}; fetch it again")
    return int(values[0])


def _edges(files: Files, name: str, number: int, values: list[str]) -> tuple[np.ndarray, CamstudyError | None]:
    """Return the box of an image, int64 (1, 4): top, left, bottom, right; or none, and why it cannot be used."""
    try:
        x, y, width, height = (float(value) for value in values)
    except ValueError:
        x = y = width = height = float("nan")
    edges = (y, x, y + height, x + width)
    if not all(-LIMIT < edge < LIMIT for edge in edges):
        text = f"{files.path}, {name}: image {number} has {' '.join(values)}, expected x, y, width and height"
        return np.empty((0, 4), np.int64), CamstudyError(f"{text}; fetch it again")
    return np.array([[round(edge) for edge in edges]], np.int64), None
