"""Photographs with fixations in a table of one's own: a folder of images, and a CSV file beside them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from camstudy.core.errors import CamstudyError, MissingFiles
from camstudy.data.formats.files import IMAGES, Files, Root
from camstudy.data.formats.gaze import photograph, together
from camstudy.data.formats.listed import finder, number_of, read_rows
from camstudy.data.formats.photographs import UNKNOWN, Photograph, check_image

COLUMNS = ("image", "observer", "order", "x", "y")
NUMBERS = ("order", "x", "y")
DURATION = "duration"


def list_table(root: str | Path | Root, table: str) -> tuple[Files, list[str]]:
    """Return the files of a folder or archive, and the names of its images; raise `CamstudyError` without the table."""
    files = (root if isinstance(root, Root) else Root(root)).open("")
    if table not in files.sizes:
        raise MissingFiles(f"{root}: {table} not found")
    return files, [*files.endswith(*IMAGES)]


def read_table(root: str | Path | Root, table: str) -> tuple[Files, list[Photograph]]:
    """Return files and photographs: all images below ``root``, with the fixations that its table has of each.

    The CSV file, as `camstudy.data.formats.listed.read_rows` reads it, has a line for each fixation: ``image``, the
    file's name below ``root``; ``observer``, any text; ``order``, a whole number that grows; ``x`` and ``y`` in pixels
    to the right and down, (0, 0) the upper left corner of the image; ``duration`` in milliseconds where that column is
    there, empty where it is not known; other columns are passed over. Fixations outside of the image are left out and
    counted. An observer is the same number for all images.

    Raises `CamstudyError`, with file and line, for columns that are missing or misspelt, what is no number, durations
    below 0, a place in the order that is taken twice, and an image that is not there.
    """
    files, names = list_table(root, table)
    if not names:
        raise CamstudyError(f"{files.path}: no images; put JPEG or PNG files there")
    found: dict[str, dict[str, dict[float, tuple[float, float, float]]]] = {name: {} for name in names}
    find = finder(files, names)
    for where, row in read_rows(files, table, COLUMNS, DURATION):
        if not row["observer"]:
            raise CamstudyError(f"{where}: has no observer; complete the line")
        name = find(row["image"])
        if name is None:
            raise CamstudyError(f"{where}: there is no image {row['image']!r}; put it there, or correct the name")
        order, x, y = (number_of(row, column, where) for column in NUMBERS)
        duration = number_of(row, DURATION, where) if row.get(DURATION) else UNKNOWN
        if row.get(DURATION) and duration < 0:
            raise CamstudyError(f"{where}: `{DURATION}` is {row[DURATION]!r}, expected milliseconds, or nothing")
        own = found[name].setdefault(row["observer"], {})
        if order in own:
            raise CamstudyError(
                f"{where}: a second fixation of order {order:g} of observer {row['observer']!r}; number them"
            )
        own[order] = (y, x, duration)
    people = sorted({observer for each in found.values() for observer in each})
    return files, [
        _photograph(files, name, [own.get(observer, {}) for observer in people]) for name, own in found.items()
    ]


def _photograph(files: Files, name: str, people: list[Mapping[float, tuple[float, float, float]]]) -> Photograph:
    # People looked at it as it was shown.
    shape, looks = check_image(files.read(name), f"{files.path}, {name}", upright=True), []
    for one in people:
        values = np.reshape([one[order] for order in sorted(one)], (-1, 3))
        looks.append({"points": values[:, :2], "order": np.arange(len(values)), "duration": values[:, 2]})
    return photograph(name, together(shape, looks))
