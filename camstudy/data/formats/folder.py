"""Photographs of one's own: a tree of images, with labels and boxes from its folders or a table, or without any."""

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from camstudy.core.errors import CamstudyError, MissingFiles, unknown
from camstudy.data.formats.files import IMAGES, Files, Root, endswith
from camstudy.data.formats.photographs import NO_LABEL, Photograph, mixed
from camstudy.data.synsets import imagenet_synsets, synset_names

EDGES = ("x0", "y0", "x1", "y1")
SHOWN = 10  # names in a message


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
        names = [files.path.resolve().name for files in several]
        names = [name if names.count(name) == 1 else f"{name}-{number}" for number, name in enumerate(names, 1)]
        self._parts = dict(zip(names, several, strict=True))
        self.path = Path(os.path.commonpath([files.path.resolve() for files in several]))
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

    Raises `CamstudyError`, naming file and line, where images are missing or twice there, and for unknown classes.
    """
    root = root if isinstance(root, Root) else Root(root)
    own = root.open("")
    several = [own, *(root.open(str(Path(place).absolute())) for place in more_roots)]
    files = Joined(several) if more_roots else own
    names = [*files.endswith(*IMAGES)]
    if not names:
        raise MissingFiles(f"{root}: no images that end in {', '.join(IMAGES)}")
    stated: dict[str, _Row] = {}
    if labels == "folders":
        stated = {name: _Row(_class_of(name, bool(more_roots), root)) for name in names}
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
    if subset is None:
        return Folder(files, mixed(found) if stated else found, shown, keys)
    by_name = {item.name: item for item in found}
    chosen = _read_lines(own, subset)
    _refuse(own, subset, [name for name in chosen if name not in by_name], "names images that are not there")
    return Folder(files, [by_name[name] for name in dict.fromkeys(chosen)], shown, keys)


class _Row(NamedTuple):
    label: str
    name: str = ""
    boxes: tuple[tuple[int, ...], ...] = ()
    wrong: CamstudyError | None = None


def _class_of(name: str, joined: bool, root: Root) -> str:
    parts = name.split("/")[joined:]
    if len(parts) == 1:
        raise CamstudyError(
            f"{root}, {name}: is in no folder, and folders are the classes; move it, or set `labels` to null or a table"
        )
    return parts[0]


def _stated(files: Files, labels: Mapping[str, str | int], names: Sequence[str]) -> dict[str, _Row]:
    _refuse(files, "`labels`", [name for name in labels if name not in {*names}], "names images that are not there")
    return {name: _Row(str(label)) for name, label in labels.items()}


def _read_table(files: Files, table: str, names: Sequence[str], boxes: bool) -> dict[str, _Row]:
    """Return what a table says of each image."""
    there, missing, found = {*names}, [], {}
    rows = csv.DictReader(io.StringIO(_text(files, table), newline=""))
    columns = ("file", "label", *(EDGES if boxes else ()))
    if absent := [column for column in columns if column not in (rows.fieldnames or ())]:
        raise CamstudyError(
            f"{files.path}, {table}, line 1: has no column {', '.join(absent)}, but "
            f"{', '.join(rows.fieldnames or ()) or 'none'}; name the columns {', '.join(columns)}"
        )
    for row in rows:
        where = f"{files.path}, {table}, line {rows.line_num}"
        name, label = (row["file"] or "").strip().removeprefix("./"), (row["label"] or "").strip()
        if not label:
            raise CamstudyError(f"{where}: has no label; give one, or leave out the line")
        if name not in there:
            missing.append(name)
            continue
        earlier = found.get(name, _Row(label))
        if earlier.label != label:
            raise CamstudyError(f"{where}: {name} has the label {label}, and above {earlier.label}; keep one of them")
        if name in found and not boxes:
            raise CamstudyError(f"{where}: {name} is there twice; keep one line of it")
        try:
            more, wrong = (_edges(row, where),) if boxes else (), earlier.wrong
        except CamstudyError as error:
            more, wrong = (), error
        found[name] = _Row(label, (row.get("name") or "").strip(), (*earlier.boxes, *more), wrong)
    _refuse(files, table, missing, "names images that are not there")
    if not found:
        raise CamstudyError(f"{files.path}, {table}: has no lines; add one for each image")
    return found


def _edges(row: Mapping[str, str], where: str) -> tuple[int, int, int, int]:
    try:
        left, top, right, bottom = (round(float(row[edge])) for edge in EDGES)
    except (TypeError, ValueError, OverflowError):
        given = ", ".join(f"{edge} {row[edge]!r}" for edge in EDGES)
        raise CamstudyError(f"{where}: found {given}, expected four numbers of pixels") from None
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
        if not numbered:
            place = {label: number for number, label in enumerate(labels)}
            names = {place[row.label]: row.name or row.label for row in stated.values()}
            names = [names[number] for number in range(len(labels))]
            return {name: place[row.label] for name, row in stated.items()}, names, names
        known = {int(row.label): row.name for row in stated.values() if row.name}
        names = [known.get(number, str(number)) for number in range(max(map(int, labels)) + 1)] if known else None
        return {name: int(row.label) for name, row in stated.items()}, names, names
    keys, names = _listed(files, classes)
    place = {str(number): number for number in range(len(keys))} if numbered else _places(keys, names)
    for name, row in stated.items():
        if _plain(row.label) not in place:
            raise CamstudyError(f"{files.path}, {name}: {unknown(f'class in `{classes}`:', row.label, place)}")
    return {name: place[_plain(row.label)] for name, row in stated.items()}, keys, names


def _listed(files: Files, classes: str) -> tuple[list[str], list[str]]:
    """Return what classes are known by and their names, by label."""
    if classes == "imagenet":
        keys, words = [*(imagenet_synsets() or ())], synset_names()
        return keys, [words.get(key, key) for key in keys]
    rows = [line.partition(",") for line in _read_lines(files, classes)]
    return [key.strip() for key, _, _ in rows], [(name or key).strip() for key, _, name in rows]


def _places(keys: Sequence[str], names: Sequence[str]) -> dict[str, int]:
    """Return the label of each class by all that it may be called; what several are called is none of them."""
    calls: dict[str, set[int]] = {}
    for number, (key, name) in enumerate(zip(keys, names, strict=True)):
        for call in (key, name, name.split(",")[0]):
            calls.setdefault(_plain(call), set()).add(number)
    return {call: min(numbers) for call, numbers in calls.items() if len(numbers) == 1}


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")


def _text(files: Files, name: str) -> str:
    if name not in files.sizes:
        raise MissingFiles(f"{files.path}: has no {name}")
    try:
        return files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CamstudyError(f"{files.path}, {name}: is no text in UTF-8 ({error}); save it as such") from None


def _read_lines(files: Files, name: str) -> list[str]:
    lines = [line.strip() for line in _text(files, name).splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _refuse(files: Files, table: str, names: Sequence[str], what: str) -> None:
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        raise CamstudyError(f"{files.path}, {table}: {what}: {', '.join(names[:SHOWN])}{more}; correct the names")
