"""Photographs of one's own: a tree of images, with labels and boxes from its folders or a table, or without any."""

import csv
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from camstudy.core.errors import CamstudyError, MissingFiles, first_of, unknown
from camstudy.data.formats.beside import Beside, find_beside, leave_out, open_beside
from camstudy.data.formats.boxes import LIMIT
from camstudy.data.formats.files import IMAGES, OTHERS, Files, Root, endswith, is_leftover
from camstudy.data.formats.listed import finder, number_of, read_lines, read_rows, refuse_missing
from camstudy.data.formats.photographs import NO_LABEL, Photograph, mixed
from camstudy.data.synsets import imagenet_synsets, synset_names

EDGES = ("x0", "y0", "x1", "y1")
PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}
NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


class Folder(NamedTuple):
    """Images of a tree: its files, the images in their order, names of the classes and what these are known by.

    ``keys`` are ImageNet's synsets where these are the classes, else the names; None without.
    """

    files: Files
    photographs: list[Photograph]
    class_names: list[str] | None
    keys: list[str] | None


class Joined:
    """The files of several directories as those of one: names begin with that of their directory."""

    def __init__(self, several: Sequence[Files]) -> None:
        places = [files.path.resolve() for files in several]
        for place, other in permutations(places, 2):
            if place.is_relative_to(other):
                raise CamstudyError(f"{place}: lies in {other}, so that its images would be there twice; name one")
        names = [place.name for place in places]
        names = [name if names.count(name) == 1 else f"{name}-{number}" for number, name in enumerate(names, 1)]
        self._parts = dict(zip(names, several, strict=True))
        self.path = Path(os.path.commonpath(places))
        self.sizes = {f"{key}/{name}": size for key, files in self._parts.items() for name, size in files.sizes.items()}

    def read(self, name: str) -> bytes:
        """Return the content of a file, as `Files.read`."""
        key, _, rest = name.partition("/")
        return self._parts[key].read(rest)

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return the contents of files, each read once."""
        contents = {name: self.read(name) for name in dict.fromkeys(names)}
        return [contents[name] for name in names]

    def hash(self, names: Iterable[str]) -> None:
        """Read those that were not read yet, as `Files.hash`."""
        for name in names:
            key, _, rest = name.partition("/")
            self._parts[key].hash([rest])

    def endswith(self, *endings: str) -> list[str]:
        """Return the names with one of these endings, as `Files.endswith`."""
        return [*endswith(self.sizes, *endings)]


def read_folder(
    root: str | Path | Root,
    *,
    more_roots: Sequence[str] = (),
    labels: str | Mapping[str, str | int] | None = "folders",
    classes: str | None = None,
    subset: str | None = None,
    boxes: bool = False,
    num_classes: int | None = None,
    beside: Mapping[str, Sequence[str]] | None = None,
) -> Folder:
    """Return the images below a directory, at any depth, from names and lists alone.

    Parameters
    ----------
    root : the directory; tables and lists are named relative to it
    more_roots : other directories of the same classes; names of images then begin with their directory's name
    labels : ``folders``, the first folder below a root is the class; a CSV file of ``file`` and ``label``, and of
        ``name`` (of the class) and ``x0,y0,x1,y1`` where they are known; a mapping of files to labels; None for images
        without classes. Labels that all are whole numbers are the classes' numbers, others are numbered in alphabetical
        order
    classes : ``imagenet``, or a file with a class in each line in the order of the labels, either its name or what
        ``labels`` has of it, a comma and its name
    subset : a file with the names of the images to take, in this order
    boxes : whether images have those of the table, a line for each: edges in pixels, x to the right and y down, so that
        the first pixel is 0, 0, 1, 1
    num_classes : how many classes there must be
    beside : folders of ``masks``, ``human_maps`` and ``human_halves``, as `camstudy.data.formats.beside.find_beside`;
        named relative to ``root``, in which they are no images

    Files of other formats than JPEG and PNG are taken, too: what decodes images names them, or leaves them out.

    Raises `CamstudyError`, naming file and line, where images are missing or twice there, and for unknown classes.
    """
    root = root if isinstance(root, Root) else Root(root)
    own = root.open("")
    several = [own, *(root.open(str(Path(place).absolute())) for place in more_roots)]
    folders = {key: [open_beside(root, place, key) for place in places] for key, places in (beside or {}).items()}
    leave_out(several, [files for each in folders.values() for files in each])
    files = Joined(several) if more_roots else own
    _check_folders(several, labels == "folders" and classes is None)
    names = [*files.endswith(*IMAGES, *OTHERS)]
    if odd := [name for name in names if not _is_text(name)]:
        raise CamstudyError(f"{root}: has names that are no text in UTF-8: {', '.join(map(ascii, odd))}; rename them")
    if not any(name.lower().endswith(IMAGES) for name in names):
        raise MissingFiles(f"{root}: no images that end in {', '.join(IMAGES)}")
    stated: dict[str, _Row] = {}
    if labels == "folders":
        stated = {name: _Row(_class_of(name, bool(more_roots), root)) for name in names}
        if classes is None and (parts := {row.label for row in stated.values()}) <= PARTS:
            raise CamstudyError(
                f"{root}: its folders {', '.join(sorted(parts))} are parts of a data set, and folders are the classes; "
                "name one of them as `root`, or the classes in a file, `classes`"
            )
    elif labels is not None:
        stated = _read_table(own, labels, names, boxes) if isinstance(labels, str) else _stated(own, labels, names)
        names = [name for name in names if name in stated]
    numbers, keys, shown = _classes(own, stated, classes)
    if num_classes and shown and len(shown) != num_classes:
        raise CamstudyError(
            f"{root}: has {len(shown)} classes, expected {num_classes}; correct `num_classes`, or name all in a file "
            "with a class in each line, `classes`"
        )
    found = [Photograph(name, numbers.get(name, NO_LABEL)) for name in names]
    if boxes:
        found = [
            replace(item, boxes=np.array(row.boxes, np.int64).reshape(-1, 4), wrong=row.wrong)
            for item, row in zip(found, map(stated.__getitem__, names), strict=True)
        ]
    if folders:
        found = _with_beside(found, find_beside(names, folders))
    if subset is None:
        return Folder(files, mixed(found) if stated else found, shown, keys)
    by_name = {item.name: item for item in found}
    chosen, find = read_lines(own, subset), finder(own, by_name)
    refuse_missing(own, subset, [name for name in chosen if find(name) is None], by_name)
    return Folder(files, [by_name[name] for name in dict.fromkeys(map(find, chosen))], shown, keys)


def _with_beside(photographs: Sequence[Photograph], beside: Mapping[str, Beside | CamstudyError]) -> list[Photograph]:
    """Return photographs with what lies beside them; one of which that is missing cannot be used."""
    found = []
    for item in photographs:
        own = beside[item.name]
        if isinstance(own, CamstudyError):
            found.append(replace(item, wrong=item.wrong or own))
        else:
            found.append(replace(item, beside=own))
    return found


class _Row(NamedTuple):
    label: str
    name: str = ""
    boxes: tuple[tuple[int, ...], ...] = ()
    wrong: CamstudyError | None = None


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_folders(several: Sequence[Files], are_classes: bool) -> None:
    """Raise `CamstudyError` where a folder cannot be read, or, as a class, is empty: what is in it would be missed.

    So would be images and classes that are links which lead nowhere, as to a disk that is not mounted.
    """
    for files in several:
        shut = [place for place in endswith(files.shut, "") if not place or not is_leftover(place)]
        if shut:
            places = ", ".join(str(files.path / place) for place in shut)
            raise CamstudyError(f"{places}: may not be read; make it readable (`chmod u+rx`), or move it elsewhere")
        lost = [place for place in endswith(files.lost, "") if not is_leftover(place)]
        lost = [place for place in lost if place.lower().endswith(IMAGES) or (are_classes and "/" not in place)]
        if lost:
            raise CamstudyError(
                f"{files.path}: links that lead nowhere: {first_of(sorted(lost))}; mount or mend what "
                "they lead to, or remove them"
            )
        inside = sorted(files.path.iterdir()) if are_classes and files.path.is_dir() else []
        inside = [place for place in inside if place.is_dir() and place.name[0] != "." and not is_leftover(place.name)]
        if empty := [place.name for place in inside if not any(place.iterdir())]:
            raise CamstudyError(
                f"{files.path}: the folder {', '.join(empty)} is empty, and folders are the classes; put images there, "
                "remove it, or name all classes in a file, `classes`"
            )


def _class_of(name: str, joined: bool, root: Root) -> str:
    parts = name.split("/")[joined:]
    if len(parts) == 1:
        raise CamstudyError(
            f"{root}, {name}: is in no folder, and folders are the classes; move it, or set `labels` to null or a table"
        )
    return parts[0]


def _stated(files: Files, labels: Mapping[str, str | int], names: Sequence[str]) -> dict[str, _Row]:
    find = finder(files, names)
    refuse_missing(files, "`labels`", [name for name in labels if find(name) is None], names)
    return {find(name): _Row(str(label)) for name, label in labels.items()}


def _read_table(files: Files, table: str, names: Sequence[str], boxes: bool) -> dict[str, _Row]:
    """Return what a table says of each image."""
    find, missing, found, called = finder(files, names), [], {}, {}
    for where, row in read_rows(files, table, ("file", "label", *(EDGES if boxes else ()))):
        name, label, title = find(row["file"]), row["label"], row.get("name", "")
        if not label:
            raise CamstudyError(f"{where}: has no label; give one, or leave out the line")
        if name is None:
            missing.append(row["file"])
            continue
        if title != called.setdefault(label, title):
            raise CamstudyError(f"{where}: calls the class {label} {title!r}, and above {called[label]!r}; keep one")
        earlier = found.get(name, _Row(label))
        if earlier.label != label:
            raise CamstudyError(f"{where}: {name} has the label {label}, and above {earlier.label}; keep one of them")
        if name in found and not boxes:
            raise CamstudyError(f"{where}: {name} is there twice; keep one line of it")
        try:
            more, wrong = (_edges(row, where),) if boxes else (), earlier.wrong
        except CamstudyError as error:
            more, wrong = (), error
        found[name] = _Row(label, title, (*earlier.boxes, *more), wrong)
    refuse_missing(files, table, missing, names)
    if not found:
        raise CamstudyError(f"{files.path}, {table}: has no lines; add one for each image")
    return found


def _edges(row: Mapping[str, str], where: str) -> tuple[int, int, int, int]:
    given = ", ".join(f"{edge} {row[edge]!r}" for edge in EDGES)
    edges = [number_of(row, edge, where) for edge in EDGES]
    if not all(-LIMIT < edge < LIMIT for edge in edges):
        raise CamstudyError(f"{where}: found {given}, expected four numbers of pixels")
    if all(0 <= edge <= 1 for edge in edges) and any(edge % 1 for edge in edges):
        raise CamstudyError(f"{where}: found {given}, fractions of the image; multiply them by its width and height")
    left, top, right, bottom = map(round, edges)
    return top, left, bottom, right


def _classes(
    files: Files, stated: Mapping[str, _Row], classes: str | None
) -> tuple[dict[str, int], list[str] | None, list[str] | None]:
    """Return the label of each image, and by label what the classes are known by and their names."""
    if not stated:
        # What methods explain, the predicted classes, has names nevertheless.
        return {}, None, _listed(files, classes)[1] if classes else None
    labels = sorted({row.label for row in stated.values()})
    numbered = all(re.fullmatch(r"\d{1,9}", label) for label in labels)
    if classes is None:
        if not numbered and all(map(NUMBER.fullmatch, labels)):
            odd = next(label for label in labels if not re.fullmatch(r"\d{1,9}", label))
            raise CamstudyError(f"{files.path}: the label {odd} is no whole number from 0, as numbers of classes are")
        if not numbered:
            place = {label: number for number, label in enumerate(labels)}
            names = {place[row.label]: row.name or row.label for row in stated.values()}
            names = [names[number] for number in range(len(labels))]
            return {name: place[row.label] for name, row in stated.items()}, names, names
        known = {int(row.label): row.name for row in stated.values() if row.name}
        names = [known.get(number, str(number)) for number in range(max(map(int, labels)) + 1)] if known else None
        return {name: int(row.label) for name, row in stated.items()}, names, names
    keys, names = _listed(files, classes)
    place = _places(keys, names)
    calls = {label: _plain(label) for label in labels}
    if numbered and not {*calls.values()} <= {*place}:
        # Folders may have zeros before them.
        place, calls = {str(number): number for number in range(len(keys))}, {each: str(int(each)) for each in labels}
    for name, row in stated.items():
        if calls[row.label] not in place:
            raise CamstudyError(f"{files.path}, {name}: {unknown(f'class in `{classes}`:', row.label, place)}")
    return {name: place[calls[row.label]] for name, row in stated.items()}, keys, names


def _listed(files: Files, classes: str) -> tuple[list[str], list[str]]:
    """Return what classes are known by and their names, by label."""
    if classes == "imagenet":
        keys, words = [*(imagenet_synsets() or ())], synset_names()
        return keys, [words.get(key, key) for key in keys]
    # Line by line: a quote that does not end is a letter.
    rows = [next(csv.reader([line], skipinitialspace=True)) for line in read_lines(files, classes)]
    keys = [row[0].strip() for row in rows]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise CamstudyError(f"{files.path}, {classes}: has the class {', '.join(twice)} twice; keep one line of each")
    return keys, [", ".join(part.strip() for part in row[1:]) or key for key, row in zip(keys, rows, strict=True)]


def _places(keys: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return the label of each class by all that it may be called; what several are called is none of them."""
    calls: dict[str, set[int]] = {}
    for number, (key, name) in enumerate(zip(keys, names, strict=True)):
        for call in (key, name, name.split(",")[0]):
            calls.setdefault(_plain(call), set()).add(number)
    return {call: min(numbers) for call, numbers in calls.items() if len(numbers) == 1}


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")
