"""Faithfulness of heatmaps: what becomes of the explained class's probability when pixels are hidden or shown.

Pure functions of probabilities; `camstudy.metrics.probing` asks the network for them. A *degenerate* heatmap
(constant, or with a non-finite value) masks everything, and all of its pixels are tied: it is scored as it comes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from camstudy.metrics.registry import METRICS

FAMILY = "faithfulness"
EPSILON = float(np.finfo(np.float64).eps)
# Shares of the pixels that positive and negative perturbation remove.
REMOVED = np.arange(1, 10) / 10

Fill = Literal["blurred", "mean", "black"]
Ties = Literal["row_major", "reversed", "mean"]


@dataclass(frozen=True)
class Protocol:
    """How insertion and deletion replace pixels, and what masks are; config/catalog/protocols.yaml has some.

    step : pixels replaced at a time in an image of 224x224; in proportion for other sizes
    start : what insertion starts from
    target : what deletion puts in place of pixels
    blur : side of the blurring kernel, odd; see `blur_kernel`
    normalize : whether masks are min-max normalised after they were resized (``resized``), or before and then
        left as resizing makes them (``native``)
    ties : the order of pixels of one value: from the first row down (``row_major``), from the last pixel up
        (``reversed``, as a stable ascending sort that is turned round), or the ``mean`` of what both give, for twice
        the passes
    removed : whether positive and negative perturbation remove a share of the pixels ``rounded`` or ``truncated``
    """

    step: int = 1792
    start: Fill = "blurred"
    target: Fill = "mean"
    blur: int = 11
    normalize: Literal["resized", "native"] = "resized"
    ties: Ties = "row_major"
    removed: Literal["rounded", "truncated"] = "rounded"

    @classmethod
    def of(cls, entry: Mapping[str, object]) -> "Protocol":
        """Return that of a catalogue's protocol, which may say more."""
        return cls(**{field.name: entry[field.name] for field in fields(cls)})

    def steps(self, pixels: int) -> int:
        """Return n, the number of steps in which all pixels of an image are replaced."""
        return -(-pixels // self.size(pixels))

    def size(self, pixels: int) -> int:
        """Return the number of pixels per step in an image of so many pixels."""
        return max(1, round(self.step * pixels / 224**2))

    def counts(self, pixels: int) -> np.ndarray:
        """Return how many pixels positive and negative perturbation remove, int32 (9,)."""
        shares = REMOVED * pixels
        return (np.round(shares) if self.removed == "rounded" else np.trunc(shares)).astype(np.int32)

    def orders(self) -> tuple[Ties, ...]:
        """Return the orders of tied pixels that are tried."""
        return ("row_major", "reversed") if self.ties == "mean" else (self.ties,)

    def passes(self, pixels: int, *, perturbation: bool) -> int:
        """Return how many forward passes of insertion, deletion and perturbation an image of so many pixels takes."""
        return len(self.orders()) * (2 * self.steps(pixels) + 2 * len(REMOVED) * perturbation)


def asks_perturbation(metrics: Iterable[str]) -> bool:
    """Return whether metrics need the passes of positive and negative perturbation."""
    return not {"positive_perturbation", "negative_perturbation"}.isdisjoint(metrics)


def blur_kernel(side: int, sigma: float = 5.0) -> np.ndarray:
    """Return the kernel that RISE's code blurs with, float64 (side, side) of sum 1.

    A point in the middle of a ``side`` x ``side`` square, filtered there by a Gaussian with reflecting borders:
    nearly a box for the sides in use, since these are small beside sigma.
    """
    from scipy.ndimage import gaussian_filter

    point = np.zeros((side, side))
    point[side // 2, side // 2] = 1
    return gaussian_filter(point, sigma)


@METRICS.register(
    "average_drop",
    family=FAMILY,
    direction="down",
    range=(0.0, 1.0),
    level="image",
    label="Average drop",
    source="Chattopadhay et al. 2018 (arXiv 1710.11063)",
    needs=("probability", "masked_probability"),
    unit="%",
)
def average_drop(probability: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """Return how much of the class's probability is lost when only the mask is shown, relative to what there was.

    max(0, p - o) / (p + eps) per image: p is the probability of the explained class (softmax, or with a sigmoid head
    its own, of each item of an image), o the same of the
    image times the heatmap scaled to [0, 1], pixel by pixel, before the model's normalisation (black where the
    heatmap is lowest); eps = 2.2e-16. The mean over images is the average drop.

    Edge cases: images with a tiny p, such as wrong ones whose label is explained, dominate the variance. A
    degenerate heatmap shows a black image, which is scored as it comes.

    >>> average_drop(np.array([0.8, 0.5]), np.array([0.6, 0.9])).round(12)
    array([0.25, 0.  ])
    """
    p, o = _probabilities(probability, masked)
    return np.maximum(0, p - o) / (p + EPSILON)


@METRICS.register(
    "average_increase",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Average increase",
    source="Chattopadhay et al. 2018 (arXiv 1710.11063)",
    needs=("probability", "masked_probability"),
    unit="%",
)
def average_increase(probability: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """Return whether the class is more probable when only the mask is shown, as bool (n,).

    1[o > p] per image, with p and o as for `average_drop`; the mean over images is the average increase.

    Edge cases: strict, so that a tie counts 0. It ignores how large the gain is: a mask that hides next to
    nothing wins about half of the images.
    """
    p, o = _probabilities(probability, masked)
    return o > p


@METRICS.register(
    "average_gain",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Average gain",
    source="Zhang et al. 2023, Opti-CAM (arXiv 2301.07002)",
    needs=("probability", "masked_probability"),
    unit="%",
)
def average_gain(probability: np.ndarray, masked: np.ndarray) -> np.ndarray:
    """Return how much of the class's missing probability is gained when only the mask is shown.

    max(0, o - p) / (1 - p + eps) per image, with p, o and eps as for `average_drop`, whose partner it is: near 0
    for a mask that hides next to nothing.

    Edge cases: 0 where p is exactly 1.
    """
    p, o = _probabilities(probability, masked)
    return np.maximum(0, o - p) / (1 - p + EPSILON)


def masked_probability(probability: np.ndarray, drop: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Return o, the probability of the masked image, from p and `average_drop` and `average_gain` of single images.

    At most one of both is not 0: o = p - drop (p + eps) + gain (1 - p + eps), float64 (n,), up to rounding.

    >>> masked_probability(np.array([0.8, 0.5]), np.array([0.25, 0]), np.array([0, 0.8])).round(12)
    array([0.6, 0.9])
    """
    p, drop, gain = (np.asarray(values, np.float64) for values in (probability, drop, gain))
    return np.clip(p - drop * (p + EPSILON) + gain * (1 - p + EPSILON), 0, 1)


@METRICS.register(
    "insertion_auc",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Insertion",
    source="Petsiuk et al. 2018 (arXiv 1806.07421)",
    needs=("insertion_curve",),
    unit="%",
)
def insertion_auc(curve: np.ndarray) -> np.ndarray:
    """Return the area under the class's probability while pixels are put into a blurred image, most salient first.

    Pixels are ranked by the resized heatmap, all channels together. ``curve`` (n, steps + 1) holds the
    probability after j steps of the protocol's size, the first of a blurred image, the last of the image itself.
    Area by the trapezoid rule, (sum - first / 2 - last / 2) / steps.

    Edge cases: pixels of one value come in the order that the protocol states as `ties`, which decides much for
    maps with large plateaus: see `tied_pixels`. A degenerate heatmap is one tie. A model whose output is constant
    gives that constant. Values of different protocols cannot be compared: name the protocol beside them.

    >>> insertion_auc(np.array([[0.0, 0.5, 1.0]]))
    array([0.5])
    """
    return _area(curve)


@METRICS.register(
    "deletion_auc",
    family=FAMILY,
    direction="down",
    range=(0.0, 1.0),
    level="image",
    label="Deletion",
    source="Petsiuk et al. 2018 (arXiv 1806.07421)",
    needs=("deletion_curve",),
    unit="%",
)
def deletion_auc(curve: np.ndarray) -> np.ndarray:
    """Return the area under the class's probability while pixels are taken out of the image, most salient first.

    As `insertion_auc`, but from the image itself to one of a single colour: the mean colour (0 after the model's
    normalisation), or black.

    Edge cases: as for `insertion_auc`.
    """
    return _area(curve)


@METRICS.register(
    "positive_perturbation",
    family=FAMILY,
    direction="down",
    range=(0.0, 1.0),
    level="image",
    label="Positive perturbation",
    source="Chefer et al. 2021 (arXiv 2012.09838), as in released code of Torres et al. 2024",
    needs=("positive_correct",),
    unit="%",
)
def positive_perturbation(correct: np.ndarray) -> np.ndarray:
    """Return the top-1 accuracy when the most salient pixels are made black, averaged over how many these are.

    Mean over q = 0.1, 0.2, ..., 0.9 of 1[the image's label is predicted without the q highest pixels] (with a sigmoid
    head: is more probable than not), whose number
    is rounded or truncated, as the protocol says; ``correct`` is bool (n, 9), or (n, 18) for both orders of ties.

    Edge cases: ties as for `insertion_auc`; images that are wrong from the start count as they come.
    """
    return _share(correct)


@METRICS.register(
    "negative_perturbation",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Negative perturbation",
    source="Chefer et al. 2021 (arXiv 2012.09838), as in released code of Torres et al. 2024",
    needs=("negative_correct",),
    unit="%",
)
def negative_perturbation(correct: np.ndarray) -> np.ndarray:
    """Return the top-1 accuracy when the least salient pixels are made black, averaged over how many these are.

    As `positive_perturbation`, with the last pixels of the same order instead of the first.

    Edge cases: as for `positive_perturbation`.
    """
    return _share(correct)


@METRICS.register(
    "tied_pixels",
    family=FAMILY,
    direction="down",
    range=(0.0, 1.0),
    level="image",
    label="Tied pixels",
    source="the order of ties in insertion and deletion",
    needs=("tied_share",),
    unit="%",
)
def tied_pixels(share: np.ndarray) -> np.ndarray:
    """Return the share of the pixels that have the most frequent value of the resized heatmap.

    max over values v of |{pixels of value v}| / |{pixels}|. It says how far insertion and deletion depend on the order
    of ties: nearly 1 for Fake-CAM, whose curves measure nothing else; the share of the zeros for a map after a ReLU.

    Edge cases: 1 for a degenerate heatmap. Not 0 for any map, since resizing repeats pixels at the border.
    """
    share = np.asarray(share, np.float64)
    _check_range(share)
    return share


def _probabilities(probability: np.ndarray, masked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p, o = np.asarray(probability, np.float64), np.asarray(masked, np.float64)
    if p.ndim != 1 or p.shape != o.shape:
        raise ValueError(f"expected two arrays (n,) of probabilities, found shapes {p.shape} and {o.shape}")
    _check_range(p)
    _check_range(o)
    return p, o


def _area(curve: np.ndarray) -> np.ndarray:
    curve = np.asarray(curve, np.float64)
    if curve.ndim != 2 or curve.shape[1] < 2:
        raise ValueError(f"expected curves (n, steps + 1) of at least one step, found shape {curve.shape}")
    _check_range(curve)
    return (curve.sum(1) - (curve[:, 0] + curve[:, -1]) / 2) / (curve.shape[1] - 1)


def _check_range(values: np.ndarray) -> None:
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("probabilities must lie in [0, 1]; found a value outside or NaN")


def _share(correct: np.ndarray) -> np.ndarray:
    correct = np.asarray(correct)
    if correct.dtype != bool or correct.ndim != 2 or not correct.shape[1] or correct.shape[1] % len(REMOVED):
        raise ValueError(f"expected bool (n, {len(REMOVED)}), found {correct.dtype} {correct.shape}")
    return correct.mean(1)
