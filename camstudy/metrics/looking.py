"""What people looked at of an image's part that a model saw: fixations, their density, those of others, scanpaths."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import FULL, Box, points_in_view, resample, within
from camstudy.data.center import fractions, others_density
from camstudy.data.dataset import Dataset
from camstudy.data.formats.gaze import fixation_density
from camstudy.data.formats.photographs import UNKNOWN

# Of the density of other images' fixations, as the control `gaze_center_bias` has it.
CENTER = {"sigma": 0.05, "size": 64}


@dataclass(frozen=True)
class View:
    """The part of an image that a model saw of it, and who looked where in it.

    box : the part, in fractions of the image; shape : its height and width in pixels of the image
    points : float64 (k, 2), rows and columns in pixels of the part; observers, orders : (k,)
    dropped : fixations of the image that lie outside of the part
    """

    box: Box
    shape: tuple[int, int]
    points: np.ndarray
    observers: np.ndarray
    orders: np.ndarray
    dropped: int

    @property
    def pixels(self) -> np.ndarray:
        """The pixels in which the fixations lie, int (k, 2)."""
        return self.points.astype(np.int64)

    def density(self, sigma: float) -> np.ndarray:
        """Return the density of the fixations, float32 of the part's shape; zeros without any."""
        return fixation_density(self.points, self.shape, sigma, size=self.shape)

    def of(self, who: np.ndarray) -> "View":
        """Return the view with some of the fixations, bool (k,)."""
        some = (values[who] for values in (self.points, self.observers, self.orders))
        return replace(self, **dict(zip(("points", "observers", "orders"), some, strict=True)))

    def people(self) -> list[np.ndarray]:
        """Return who looked at the part, as fixations bool (k,) of each observer; nobody where that is not known."""
        return [self.observers == one for one in np.unique(self.observers) if one != UNKNOWN]

    def scanpaths(self) -> list[np.ndarray]:
        """Return the fixations of each observer in their order, float64 (steps, 2)."""
        return [self.points[own][np.argsort(self.orders[own], kind="stable")] for own in self.people()]


class Looking:
    """The gaze of a dataset in what models saw of its images.

    Raises `CamstudyError` where the dataset does not say what a degree of visual angle is, or its order of fixations.
    """

    def __init__(self, dataset: Dataset, *, ordered: bool = False) -> None:
        self.dataset = dataset
        self._shapes = dataset.shapes
        self._points, self._offsets = fractions(dataset.group)
        if ordered and (dataset.group["fixation_order"][:] == UNKNOWN).all():
            raise CamstudyError(
                f"{dataset.path}: the order of fixations is not known, which scanpaths need; use data that have it"
            )
        self._counts = lru_cache(maxsize=8)(self._all_counts)

    @cached_property
    def sigma(self) -> float:
        """The standard deviation of densities, in pixels."""
        if "sigma" not in self.dataset.attrs:
            raise CamstudyError(
                f"{self.dataset.path}: has no attribute `sigma`; delete its manifest and prepare it anew"
            )
        return self.dataset.attrs["sigma"]

    def views(self, images: slice | Sequence[int], seen: np.ndarray) -> Iterator[View]:
        """Yield what models saw of images, given that in fractions (n, 4): of what lies beyond them, nothing."""
        about = (self.dataset.observers(images), self.dataset.orders(images))
        for image, box, observers, orders in zip(np.arange(self.dataset.n)[images], seen, *about, strict=True):
            top, left, bottom, right = np.clip(box, 0, 1)
            part = (float(top), float(left), float(bottom), float(right))
            height, width = self._shapes[image]
            shape = max(1, round((bottom - top) * height)), max(1, round((right - left) * width))
            points, inside = points_in_view(self._own(image), part, shape)
            there = (points[inside], observers[inside], orders[inside])
            yield View(part, shape, *there, dropped=int(np.count_nonzero(~inside)))

    def others(self, image: int, view: View) -> np.ndarray:
        """Return how many fixations of other images lie on each pixel of a part, int of its shape.

        A fixation lies in the same fraction of this image as of its own.
        """
        own, inside = points_in_view(self._own(image), view.box, view.shape)
        return self._counts(view.box, view.shape) - _counted(own[inside], view.shape)

    def center(self, images: slice | Sequence[int], views: Sequence[View]) -> list[np.ndarray]:
        """Return the density of the fixations on all other images, in the parts that models saw of images."""
        positions = np.arange(self.dataset.n)[images]
        maps = others_density(self._points, self._offsets, positions, **CENTER)
        return [resample(one, view.shape, view.box) for one, view in zip(maps, views, strict=True)]

    def _own(self, image: int) -> np.ndarray:
        return self._points[self._offsets[image] : self._offsets[image + 1]]

    def _all_counts(self, box: Box, shape: tuple[int, int]) -> np.ndarray:
        points, inside = points_in_view(self._points, box, shape)
        return _counted(points[inside], shape)


def shown(maps: np.ndarray, seen: np.ndarray, views: Sequence[View]) -> list[np.ndarray]:
    """Return maps (n, h, w) in the pixels of the parts that they show, given what they cover in fractions (n, 4)."""
    boxes = (within(view.box, tuple(box)) for box, view in zip(seen, views, strict=True))
    return [
        resample(one, view.shape, FULL if np.allclose(box, FULL) else box)
        for one, box, view in zip(maps, boxes, views, strict=True)
    ]


def _counted(points: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    places = points.astype(np.int64) @ [shape[1], 1]
    return np.bincount(places, minlength=shape[0] * shape[1]).reshape(shape)
