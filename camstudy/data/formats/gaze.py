"""Photographs with human fixations: MIT1003, SALICON and CAT2000, from the files that their authors distribute.

Sources: Judd et al. 2009 (MIT1003), Jiang et al. 2015 (SALICON), Borji and Itti 2015 (CAT2000, arXiv 1505.03581).
"""

import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.files import Files, find
from camstudy.data.formats.photographs import DENSITY_SIZE, Photograph
from camstudy.data.sources import cat2000, mit1003, salicon

UNKNOWN = -1


def fixation_density(
    fixations: np.ndarray, shape: tuple[int, int], sigma: float, size: tuple[int, int] = DENSITY_SIZE
) -> np.ndarray:
    """Return the density of fixations blurred by a Gaussian, float32 ``size`` of sum 1; zeros without fixations.

    The sum over fixations of exp(-d^2 / (2 sigma^2)) is evaluated at the centres of a grid of ``size`` cells over the
    whole image: exact, without truncation. What falls outside the image is lost.

    Parameters
    ----------
    fixations : (k, 2), rows and columns in pixels of the image; the centre of the upper left pixel is (0.5, 0.5)
    shape : height and width of the image in pixels
    sigma : standard deviation in pixels
    size : rows and columns of the result; ``shape`` gives one value per pixel
    """
    profiles = []
    for axis in (0, 1):
        centres = (np.arange(size[axis]) + 0.5) * shape[axis] / size[axis]
        profiles.append(np.exp(-0.5 * ((centres[:, None] - fixations[None, :, axis]) / sigma) ** 2))
    density = profiles[0] @ profiles[1].T
    return (density / max(density.sum(), np.finfo(float).tiny)).astype(np.float32)


def read_mit1003(root: str | Path) -> tuple[Files, list[Photograph]]:
    """Return files and photographs of MIT1003: ALLSTIMULI, and the points of ALLFIXATIONMAPS (``*_fixPts.jpg``).

    Bright pixels of the point maps are fixations; who made them is not known, and two on one pixel are one.
    Raises `CamstudyError` if a part or a map is missing.
    """
    images, names, maps, points = list_mit1003(root)

    def fixations(name: str) -> tuple[np.ndarray, np.ndarray]:
        try:
            with Image.open(io.BytesIO(maps.read(points[_stem(name)]))) as image:
                return _of_mask(np.asarray(image.convert("L")) > 127)
        except OSError as error:
            raise CamstudyError(f"{maps.path}, {points[_stem(name)]}: cannot be decoded ({error})") from None

    return images, _photographs(images, names, points, fixations)


def read_salicon(root: str | Path) -> tuple[Files, list[Photograph]]:
    """Return files and photographs of SALICON: images and ``fixations/{train,val}/*.mat``; images without are left out.

    A file has ``gaze``, one element for each observer, whose ``fixations`` are columns and rows counted from 1, and
    ``resolution``, height and width. Fixations outside the image are left out.
    Raises `CamstudyError` if a part is missing or a file has another content.
    """
    images, names, gaze, known = list_salicon(root)

    def fixations(name: str) -> tuple[np.ndarray, np.ndarray]:
        content = gaze.read_matlab(known[_stem(name)], "gaze", "resolution")
        points, observers = [np.empty((0, 2))], [np.empty(0)]
        try:
            height, width = np.ravel(content["resolution"])
            for observer, one in enumerate(np.atleast_1d(content["gaze"])):
                found = np.reshape(one["fixations"], (-1, 2)).astype(float)[:, ::-1] - 0.5
                found = found[((found > 0) & (found < (height, width))).all(axis=1)]
                points.append(found)
                observers.append(np.full(len(found), observer))
        except (ValueError, TypeError, LookupError) as error:
            raise CamstudyError(
                f"{gaze.path}, {known[_stem(name)]}: `gaze` is not a list of observers with `fixations` of two "
                f"columns, or `resolution` not two numbers ({error}); fetch it again"
            ) from None
        return np.concatenate(points).astype(np.float32), np.concatenate(observers).astype(np.int16)

    return images, _photographs(images, names, known, fixations)


def read_cat2000(root: str | Path) -> tuple[Files, list[Photograph]]:
    """Return files and photographs of CAT2000's training set: ``Stimuli`` and ``FIXATIONLOCS``, by category.

    A file has the mask ``fixLocs`` of fixated pixels; who made the fixations is not known.
    Raises `CamstudyError` if a part or a file is missing, or a file has another content.
    """
    files, names, _, known = list_cat2000(root)

    def fixations(name: str) -> tuple[np.ndarray, np.ndarray]:
        return _of_mask(np.asarray(files.read_matlab(known[_place(name)], "fixLocs")["fixLocs"]) > 0)

    return files, _photographs(files, names, known, fixations, key=_place)


class Listed(NamedTuple):
    """The images of a data set, from names alone: where they are, their names, where files of fixations are, and these.

    ``known`` maps what an image and its file of fixations have in common to the name of the file.
    """

    images: Files
    names: list[str]
    gaze: Files
    known: dict[str, str]


def list_mit1003(root: str | Path) -> Listed:
    """Return the images of MIT1003; raise `CamstudyError` if a part is missing."""
    images, maps = _parts(root, mit1003.LAYOUT, "ALLSTIMULI", "ALLFIXATIONMAPS")
    points = {_stem(name).removesuffix("_fixPts"): name for name in maps.endswith("_fixpts.jpg", "_fixpts.png")}
    return Listed(images, [*images.endswith(".jpeg", ".jpg")], maps, points)


def list_salicon(root: str | Path) -> Listed:
    """Return the images of SALICON of which fixations are known; raise `CamstudyError` if a part is missing."""
    images, gaze = _parts(root, salicon.LAYOUT, "images", "fixations")
    known = {_stem(name): name for name in gaze.endswith(".mat")}
    return Listed(images, [name for name in images.endswith(".jpg", ".jpeg") if _stem(name) in known], gaze, known)


def list_cat2000(root: str | Path) -> Listed:
    """Return the images of CAT2000's training set; raise `CamstudyError` if it is missing."""
    (files,) = _parts(root, cat2000.LAYOUT, "trainSet")
    known = {_place(name): name for name in files.endswith(".mat") if "FIXATIONLOCS" in PurePosixPath(name).parts}
    # Beside the images of each category there are pictures of their fixations, in `Output`.
    pattern = re.compile(r"(?:.*/)?Stimuli/[^/]+/[^/]+\.jpe?g", re.IGNORECASE)
    names = [name for name in files.endswith(".jpg", ".jpeg") if pattern.fullmatch(name)]
    return Listed(files, names, files, known)


def _parts(root: str | Path, layout: str, *names: str) -> list[Files]:
    parts = {name: find(root, name) for name in names}
    missing = [name for name, files in parts.items() if files is None]
    if missing:
        raise CamstudyError(f"{root}: {' and '.join(missing)} not found; {layout}")
    return list(parts.values())


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _place(name: str) -> str:
    """Return category and number of an image or a file about it: Action/001."""
    return f"{PurePosixPath(name).parent.name}/{_stem(name)}"


def _photographs(
    files: Files,
    names: Iterable[str],
    known: dict[str, str],
    fixations: Callable[[str], tuple[np.ndarray, np.ndarray]],
    key: Callable[[str], str] = _stem,
) -> list[Photograph]:
    names = list(names)
    if not names:
        raise CamstudyError(f"{files.path}: no images of which fixations are known; unpack or fetch it again")
    missing = [name for name in names if key(name) not in known]
    if missing:
        raise CamstudyError(
            f"{files.path}: no fixations of {len(missing)} images, such as {missing[0]}; fetch them again"
        )
    found = []
    for name in names:
        points, observers = fixations(name)
        found.append(Photograph(name, fixations=points, observers=observers))
    return found


def _of_mask(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = np.argwhere(mask).astype(np.float32) + 0.5
    return points, np.full(len(points), UNKNOWN, np.int16)
