"""Boxes of objects: annotations in Pascal VOC's XML, which ImageNet has too, and boxes within their images.

Boxes are edges (top, left, bottom, right) in pixels, whole numbers: a box of the first row of pixels ends at bottom 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.kinds import AGAIN
from camstudy.data.formats.files import Files

LIMIT = 2**31


@dataclass(frozen=True)
class Object:
    """One object of an annotation: the name of its class, its edges, and whether it is marked as difficult."""

    name: str
    edges: tuple[int, int, int, int]
    difficult: bool


class _Elements(ElementTree.TreeBuilder):
    """What a document consists of, if it declares no type: there are no entities without, whatever its encoding."""

    def doctype(self, *_: str | None) -> None:
        raise ValueError("it declares a document type, which annotations do not have")


def read_objects(files: Files, names: Sequence[str], *, first: int) -> list[list[Object] | CamstudyError]:
    """Return the objects of each of the annotations ``names``, as `parse_objects` does, or its error."""

    def one(content: bytes, name: str) -> list[Object] | CamstudyError:
        try:
            return parse_objects(content, f"{files.path}, {name}", first)
        except CamstudyError as error:
            return error

    return [one(content, name) for content, name in zip(files.read_all(names), names, strict=True)]


def parse_objects(content: bytes, where: str, first: int) -> list[Object]:
    """Return the objects of an annotation: ``<object>`` with ``<name>``, ``<bndbox>`` and perhaps ``<difficult>``.

    xmin to xmax are columns, the last included, and ymin to ymax rows; ``first`` is the number of the first one.
    Fractions, which a few files have, are rounded. Boxes of an object's parts are not read; one that ends before it
    begins is for `cut_boxes` to refuse, so that it costs its image and not all of them.

    Raises
    ------
    CamstudyError : the content is no such document, or declares entities.
    """
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_Elements()))
        if root.tag != "annotation":
            raise ValueError(f"it is a `{root.tag}`")
        return [_object(element, first) for element in root.findall("object")]
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        advice = AGAIN if isinstance(error, ElementTree.ParseError) else "correct it, or take the original"
        raise CamstudyError(f"{where}: not an annotation in Pascal VOC's XML ({error}); {advice}") from None


def _object(element: ElementTree.Element, first: int) -> Object:
    name, box = (element.findtext("name") or "").strip(), element.find("bndbox")
    if not name or box is None:
        raise ValueError("an object lacks `name` or `bndbox`")
    edges = []
    for key, shift in (("ymin", -first), ("xmin", -first), ("ymax", 1 - first), ("xmax", 1 - first)):
        text = box.findtext(key)
        value = float("nan" if text is None else text)
        if not -LIMIT < value < LIMIT:
            raise ValueError(f"`{key}` of {name} is {text}, no number of a pixel")
        edges.append(round(value) + shift)
    return Object(name, tuple(edges), (element.findtext("difficult") or "0").strip() == "1")


def cut_boxes(boxes: np.ndarray, size: tuple[int, int], where: str) -> tuple[np.ndarray, int]:
    """Return the boxes (k, 4) of an image, cut at its borders, and how many of them reached beyond.

    ``size`` is height and width in pixels. Raises `CamstudyError` for one that has or keeps no pixel.
    """
    empty = np.flatnonzero((boxes[:, 2:] <= boxes[:, :2]).any(1))
    if len(empty):
        raise CamstudyError(
            f"{where}: the box of top, left, bottom, right {boxes[empty[0]].tolist()} ends before it begins, though "
            "the last pixel counts; correct it in the annotations"
        )
    cut = np.clip(boxes, 0, [*size, *size])
    empty = np.flatnonzero((cut[:, 2:] <= cut[:, :2]).any(1))
    if len(empty):
        raise CamstudyError(
            f"{where}: the box of top, left, bottom, right {boxes[empty[0]].tolist()} lies outside the image of height "
            f"{size[0]} and width {size[1]}; images and boxes do not belong together: correct it, or "
            "take both of one origin"
        )
    return cut, int((cut != boxes).any(1).sum())
