"""Speed of the metrics of gaze on images of 1024x768: against pysaliency, and against the limit of a data set."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.table import Row
from benchmarks.timing import interleave, one_thread, versus
from camstudy.core.geometry import resample
from camstudy.data.formats.gaze import fixation_density
from camstudy.metrics.gaze import auc_judd, cc, information_gain, kld, nss, shuffled_auc, sim
from tests.unit.pysaliency_peer import pysaliency

IMAGES = 1003  # of MIT1003, which is to take a minute


class Size(NamedTuple):
    shape: tuple[int, int]
    images: int
    fixations: int
    repeats: int


FULL, SMALL = Size((768, 1024), 12, 120, 3), Size((48, 64), 3, 10, 1)


class Scene:
    """Maps at 7x7, fixations and densities of some images, the same for both contestants."""

    def __init__(self, size: Size) -> None:
        rng = np.random.default_rng(0)
        self.shape = size.shape
        self.native = rng.standard_normal((size.images, 7, 7), dtype=np.float32)
        self.points = [rng.random((size.fixations, 2)) * size.shape for _ in range(size.images)]
        self.pixels = [points.astype(int) for points in self.points]
        # As many as those of 1,003 images.
        everywhere = rng.integers(0, size.shape[0] * size.shape[1], IMAGES * size.fixations)
        self.others = np.bincount(everywhere, minlength=size.shape[0] * size.shape[1]).reshape(size.shape)
        self.baseline = fixation_density(np.array([[s / 2 for s in size.shape]]), size.shape, 200, size=size.shape)

    def ours(self) -> list[np.ndarray]:
        """Return all metrics of each image, with the map and the density at its resolution."""
        found = []
        for native, points, pixels in zip(self.native, self.points, self.pixels, strict=True):
            maps, where = [resample(native, self.shape)], [pixels]
            people = [fixation_density(points, self.shape, 35.0, size=self.shape)]
            found.append(
                np.concatenate(
                    [
                        nss(maps, where),
                        auc_judd(maps, where),
                        shuffled_auc(maps, where, [self.others]),
                        cc(maps, people),
                        sim(maps, people),
                        kld(maps, people),
                        information_gain(maps, where, [self.baseline]),
                    ]
                )
            )
        return found


def theirs(scene: Scene, module: object) -> list[np.ndarray]:
    """Return the five metrics of single images that pysaliency has as functions, of the same maps and densities."""
    from pysaliency.metrics import CC, NSS, SIM, MIT_KLDiv
    from pysaliency.roc import general_roc

    found = []
    for native, points, pixels in zip(scene.native, scene.points, scene.pixels, strict=True):
        values = resample(native, scene.shape).astype(np.float64)
        people = fixation_density(points, scene.shape, 35.0, size=scene.shape).astype(np.float64)
        fixated = np.zeros(scene.shape, bool)
        fixated[tuple(pixels.T)] = True
        area = general_roc(values[tuple(pixels.T)], values[~fixated])[0]
        divergence = MIT_KLDiv(values, people)
        found.append(
            np.array([NSS(values, *pixels.T[::-1]).mean(), area, CC(values, people), SIM(values, people), divergence])
        )
    return found


SAME = [0, 1, 3, 4, 5]


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row against pysaliency, and one of the time of MIT1003."""
    size = SMALL if small else FULL
    scene = Scene(size)
    with one_thread(), pysaliency() as module, np.errstate(divide="ignore"):
        pairs = zip(scene.ours(), theirs(scene, module), strict=True)
        difference = max(np.abs(own[SAME] - other).max() for own, other in pairs)
        contestants = {"ours": scene.ours, "pysaliency": lambda: theirs(scene, module)}
        times = interleave(contestants, size.repeats)
    detail = (
        f"{size.images} images of {size.shape[1]}x{size.shape[0]}, seven metrics to five, differing by {difference:.0e}"
    )
    yield versus("pysaliency / metrics of gaze", times, "pysaliency", "ours", ">= 1", detail)
    seconds = IMAGES * min(times["ours"]) / size.images
    name, detail = f"seconds of {IMAGES} images, metrics of gaze", "with resampling and densities, one core"
    yield Row(name, seconds, "<= 60", detail, unit="s")
