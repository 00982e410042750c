"""Photographs with human fixations: MIT1003, SALICON and CAT2000, from the files that their authors distribute.

Sources: Judd et al. 2009 (MIT1003), Jiang et al. 2015 (SALICON), Borji and Itti 2015 (CAT2000, arXiv 1505.03581).
"""

import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from PIL import Image

from camstudy.core.errors import CamstudyError, MissingFiles
from camstudy.data.formats.eyetracking import find_fixations
from camstudy.data.formats.files import Files, find
from camstudy.data.formats.photographs import DENSITY_SIZE, UNKNOWN, Photograph, check_image


class Gaze(NamedTuple):
    """The fixations on an image, as `camstudy.data.formats.photographs.Photograph` has them."""

    points: np.ndarray
    observers: np.ndarray
    orders: np.ndarray | None = None
    durations: np.ndarray | None = None
    outside: int = 0


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


def together(shape: tuple[int, int], people: Sequence[Mapping[str, np.ndarray]]) -> Gaze:
    """Return the fixations of several people within an image, those outside counted.

    Parameters
    ----------
    shape : height and width of the image
    people : of each observer ``points`` (k, 2), rows and columns, ``order`` (k,) and, if known, ``duration`` (k,)
    """
    found: dict[str, list[np.ndarray]] = {"points": [np.empty((0, 2))], "observer": [], "order": [], "duration": []}
    outside = 0
    for number, one in enumerate(people):
        points = np.reshape(one["points"], (-1, 2)).astype(np.float64)
        within = ((points >= 0) & (points < shape)).all(axis=1)
        outside += int(np.count_nonzero(~within))
        own = {"observer": np.full(len(points), number), "duration": np.full(len(points), UNKNOWN)} | dict(one)
        for name, values in (own | {"points": points}).items():
            found[name].append(np.asarray(values)[within])
    kinds = {"points": np.float32, "observer": np.int16, "order": np.int16, "duration": np.float32}
    joined = {name: np.concatenate([np.empty(0), *found[name]]) for name in kinds if name != "points"}
    joined["points"] = np.concatenate(found["points"])
    points, observers, orders, durations = (joined[name].astype(kind) for name, kind in kinds.items())
    return Gaze(points, observers, orders, durations, outside)


def read_mit1003(root: str | Path) -> tuple[Files, list[Photograph]]:
    """Return files and photographs of MIT1003: ALLSTIMULI, and who looked where from DATA.

    ``DATA/{observer}/{image}.mat`` has the samples of the eye tracker, `DATA(1).eyeData`, columns and rows counted from
    1, from which fixations are found as `camstudy.data.formats.eyetracking.find_fixations` says; the first of each
    observer, which rests on the mark in the middle, is left out. Without DATA, the points of ALLFIXATIONMAPS
    (``*_fixPts.jpg``) are read: bright pixels are fixations; who made them is not known, and two on one pixel are one.
    Raises `CamstudyError` if a part or a map is missing, or a file has another content.
    """
    images, names, gaze, known = list_mit1003(root)
    samples = _samples(root)
    if samples is not None:
        return images, _photographs(images, names, known, lambda name: _looks(images, name, *samples))

    def fixations(name: str) -> Gaze:
        try:
            with Image.open(io.BytesIO(gaze.read(known[_stem(name)]))) as image:
                return _of_mask(np.asarray(image.convert("L")) > 127)
        except OSError as error:
            raise CamstudyError(f"{gaze.path}, {known[_stem(name)]}: cannot be decoded ({error})") from None

    return images, _photographs(images, names, known, fixations)


def _samples(root: str | Path) -> tuple[Files, dict[str, dict[str, str]]] | None:
    """Return MIT1003's files of samples, by image and observer; None where there are none."""
    data = find(root, "DATA")
    if data is None:
        return None
    found: dict[str, dict[str, str]] = {}
    for name in data.endswith(".mat"):
        found.setdefault(_stem(name), {})[PurePosixPath(name).parent.name] = name
    return data, found


def _looks(images: Files, image: str, data: Files, known: Mapping[str, Mapping[str, str]]) -> Gaze:
    """Return the fixations of all observers on an image of MIT1003."""
    people = []
    # An observer is the same number for all images.
    for observer in sorted({one for each in known.values() for one in each}):
        name = known[_stem(image)].get(observer)
        if name is None:
            people.append({"points": np.empty((0, 2)), "order": np.empty(0)})
            continue
        content = data.read_matlab(name)
        # MATLAB cuts names of variables off.
        variable = _stem(image)[:63] if _stem(image)[:63] in content else next(iter(content), "")
        try:
            trials = _of_struct(content[variable], "DATA")
            samples = np.asarray(_of_struct(np.atleast_1d(trials)[0], "eyeData"), np.float64)[:, :2]
        except (ValueError, TypeError, LookupError) as error:
            raise CamstudyError(
                f"{data.path}, {name}: has no struct with `DATA(1).eyeData` of two columns "
                f"({type(error).__name__}: {error}); fetch it again"
            ) from None
        centres, durations = find_fixations(samples)
        order = np.arange(len(centres))
        people.append({"points": centres[1:, ::-1] - 1, "order": order[1:], "duration": durations[1:]})
    return together(check_image(images.read(image), f"{images.path}, {image}"), people)


def _of_struct(value: object, name: str) -> object:
    """Return a field of a struct as `scipy.io.loadmat` has it, where dimensions of length 1 are gone or not."""
    found = np.atleast_1d(np.asarray(value))[0][name]
    return found.item() if isinstance(found, np.ndarray) and found.dtype == object and found.ndim == 0 else found


def read_salicon(root: str | Path) -> tuple[Files, list[Photograph]]:
    """Return files and photographs of SALICON: images and ``fixations/{train,val}/*.mat``; images without are left out.

    A file has ``gaze``, one element for each observer, whose ``fixations`` are columns and rows counted from 1, in
    their order, and ``resolution``, height and width. Fixations outside the image are left out.
    Raises `CamstudyError` if a part is missing or a file has another content.
    """
    images, names, gaze, known = list_salicon(root)

    def fixations(name: str) -> Gaze:
        content = gaze.read_matlab(known[_stem(name)], "gaze", "resolution")
        try:
            height, width = np.ravel(content["resolution"])
            people = []
            for one in np.atleast_1d(content["gaze"]):
                points = np.reshape(one["fixations"], (-1, 2)).astype(float)[:, ::-1] - 0.5
                people.append({"points": points, "order": np.arange(len(points))})
            return together((height, width), people)
        except (ValueError, TypeError, LookupError) as error:
            raise CamstudyError(
                f"{gaze.path}, {known[_stem(name)]}: `gaze` is not a list of observers with `fixations` of two "
                f"columns, or `resolution` not two numbers ({error}); fetch it again"
            ) from None

    return images, _photographs(images, names, known, fixations)


def read_cat2000(root: str | Path) -> tuple[Files, list[Photograph]]:
    """Return files and photographs of CAT2000's training set: ``Stimuli`` and ``FIXATIONLOCS``, by category.

    A file has the mask ``fixLocs`` of fixated pixels; who made the fixations is not known: that is in
    ``allFixData.mat``, an object of MATLAB's, of which `scipy.io.loadmat` returns a handle alone.
    Raises `CamstudyError` if a part or a file is missing, or a file has another content.
    """
    files, names, _, known = list_cat2000(root)

    def fixations(name: str) -> Gaze:
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
    """Return the images of MIT1003, with an observer's file or a map; raise `CamstudyError` if a part is missing."""
    samples = _samples(root)
    if samples is not None:
        (images,), (data, found) = _parts(root, "ALLSTIMULI"), samples
        known = {image: next(iter(each.values())) for image, each in found.items()}
        return Listed(images, [*images.endswith(".jpeg", ".jpg")], data, known)
    images, maps = _parts(root, "ALLSTIMULI", "ALLFIXATIONMAPS")
    points = {_stem(name).removesuffix("_fixPts"): name for name in maps.endswith("_fixpts.jpg", "_fixpts.png")}
    return Listed(images, [*images.endswith(".jpeg", ".jpg")], maps, points)


def list_salicon(root: str | Path) -> Listed:
    """Return the images of SALICON of which fixations are known; raise `CamstudyError` if a part is missing."""
    images, gaze = _parts(root, "images", "fixations")
    known = {_stem(name): name for name in gaze.endswith(".mat")}
    return Listed(images, [name for name in images.endswith(".jpg", ".jpeg") if _stem(name) in known], gaze, known)


def list_cat2000(root: str | Path) -> Listed:
    """Return the images of CAT2000's training set; raise `CamstudyError` if it is missing."""
    (files,) = _parts(root, "trainSet")
    known = {_place(name): name for name in files.endswith(".mat") if "FIXATIONLOCS" in PurePosixPath(name).parts}
    # Beside the images of each category there are pictures of their fixations, in `Output`.
    pattern = re.compile(r"(?:.*/)?Stimuli/[^/]+/[^/]+\.jpe?g", re.IGNORECASE)
    names = [name for name in files.endswith(".jpg", ".jpeg") if pattern.fullmatch(name)]
    return Listed(files, names, files, known)


def _parts(root: str | Path, *names: str) -> list[Files]:
    parts = {name: find(root, name) for name in names}
    missing = [name for name, files in parts.items() if files is None]
    if missing:
        raise MissingFiles(f"{root}: {' and '.join(missing)} not found")
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
    fixations: Callable[[str], Gaze],
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
    return [photograph(name, fixations(name)) for name in names]


def photograph(name: str, gaze: Gaze) -> Photograph:
    """Return a photograph with its fixations."""
    points, observers, orders, durations, outside = gaze
    return Photograph(name, fixations=points, observers=observers, orders=orders, durations=durations, outside=outside)


def _of_mask(mask: np.ndarray) -> Gaze:
    points = np.argwhere(mask).astype(np.float32) + 0.5
    return Gaze(points, np.full(len(points), UNKNOWN, np.int16))
