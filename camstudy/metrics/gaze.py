"""Maps beside people's fixations: values at fixated pixels, areas under ROC curves, densities compared.

Each image has a size of its own, so that everything comes as a sequence with one array for each image. A *degenerate*
map, constant or with a non-finite value, is scored as a constant one, which each metric states. An image without
fixations has no score, which is NaN: it does not count.
"""

from collections.abc import Callable, Sequence

import numpy as np

from camstudy.metrics.registry import METRICS

FAMILY = "gaze"
EPS = 2.2204e-16  # of the benchmark's code, which rounds the spacing of float64 at 1
BINS = 1 << 16
BENCHMARK = "Bylinski et al. 2019 (arXiv 1604.03605)"

Maps = Sequence[np.ndarray]


@METRICS.register(
    "nss",
    family=FAMILY,
    direction="up",
    range=(-np.inf, np.inf),
    level="image",
    label="NSS",
    source=f"Peters et al. 2005; {BENCHMARK}",
    needs=("heatmap", "fixations"),
    partial=True,
)
def nss(maps: Maps, fixations: Maps) -> np.ndarray:
    """Return the normalized scanpath saliency: the mean over fixations of (S - mean S) / std S, 0 by chance.

    ``maps`` are (h, w) for each image, ``fixations`` int (k, 2), rows and columns of their pixels. The standard
    deviation is that over all pixels (N, not N - 1); a pixel that is fixated twice counts twice. Of the fixations
    themselves, not of their density: the mean of a standardized map under a density is another number.

    Edge cases: a degenerate map gives 0.

    >>> nss([np.array([[0.0, 1.0], [0.0, 1.0]])], [np.array([[0, 1]])])
    array([1.])
    """

    def one(values: np.ndarray, pixels: np.ndarray) -> float:
        spread = values.std()
        return float((values[_at(pixels)] - values.mean()).mean() / spread) if spread > 0 else 0.0

    return _each(one, maps, fixations)


@METRICS.register(
    "auc_judd",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="AUC-Judd",
    source=f"Judd et al. 2009; {BENCHMARK}",
    needs=("heatmap", "fixations"),
    partial=True,
)
def auc_judd(maps: Maps, fixations: Maps) -> np.ndarray:
    """Return the probability that a fixated pixel has a higher value than one that is not, 0.5 by chance.

    The area under the ROC curve with fixations as positives and all pixels that nobody fixated as negatives; equal
    values count half, without the random jitter of the MATLAB code. A pixel that is fixated twice is two positives.
    It does not change with a monotone transform of the map.

    Edge cases: a degenerate map gives 0.5. Where every pixel is fixated there is no score.
    """

    def one(values: np.ndarray, pixels: np.ndarray) -> float:
        found = values[_at(pixels)]
        fixated = np.sort(values[_at(np.unique(pixels, axis=0))])
        if len(fixated) == values.size:
            return np.nan
        # What is fixated is taken off, so that no copy without it is made.
        below = _below_pixels(found, values) - _below(found, fixated)
        return float(below.mean() / (values.size - len(fixated)))

    return _each(one, maps, fixations, exact=True)


@METRICS.register(
    "shuffled_auc",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Shuffled AUC",
    source=f"Zhang et al. 2008; {BENCHMARK}",
    needs=("heatmap", "fixations", "other_fixations"),
    partial=True,
)
def shuffled_auc(maps: Maps, fixations: Maps, others: Maps) -> np.ndarray:
    """Return the probability that a fixated pixel has a higher value than one fixated on other images, 0.5 by chance.

    As `auc_judd`, with the fixations of all other images as negatives: what merely knows that people look at the
    centre scores near 0.5. ``others`` are numbers of these fixations on each pixel, int (h, w). All of them count,
    where Borji's code draws as many as there are positives a hundred times over.

    Edge cases: a degenerate map gives 0.5. Without other fixations there is no score.
    """

    def one(values: np.ndarray, pixels: np.ndarray, counts: np.ndarray) -> float:
        places = np.flatnonzero(counts)
        if not len(places):
            return np.nan
        steps, repeats = np.unique(values[_at(pixels)], return_counts=True)
        negatives, numbers = values.ravel()[places], counts.ravel()[places].astype(np.float64)
        # Of negatives, how many lie below each value of a positive, and how many at it.
        low, high = (np.searchsorted(steps, negatives, side) for side in ("left", "right"))
        most = len(steps) + 1
        below = np.cumsum(np.bincount(high, numbers, most))[:-1]
        at_most = np.cumsum(np.bincount(low, numbers, most))[:-1]
        return float((below + at_most) @ repeats / (2 * repeats.sum() * numbers.sum()))

    return _each(one, maps, fixations, others, exact=True)


@METRICS.register(
    "cc",
    family=FAMILY,
    direction="up",
    range=(-1.0, 1.0),
    level="image",
    label="CC",
    source=BENCHMARK,
    needs=("heatmap", "density"),
    partial=True,
)
def cc(maps: Maps, densities: Maps) -> np.ndarray:
    """Return Pearson's correlation of map and fixation density over all pixels, 0 by chance.

    ``densities`` are (h, w), of sum 1.

    Edge cases: a degenerate map or a constant density gives 0.
    """

    def one(values: np.ndarray, density: np.ndarray) -> float:
        values, density = values - values.mean(), density - density.mean()
        spread = np.sqrt((values * values).sum() * (density * density).sum())
        return float(np.clip((values * density).sum() / spread, -1, 1)) if spread > 0 else 0.0

    return _each(one, maps, densities)


@METRICS.register(
    "sim",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="SIM",
    source=BENCHMARK,
    needs=("heatmap", "density"),
    partial=True,
)
def sim(maps: Maps, densities: Maps, *, minmax: bool = False) -> np.ndarray:
    """Return what map and fixation density share: the sum over pixels of the smaller one, each divided by its sum.

    Maps with negative values are shifted to 0 first. With ``minmax``, map and density are scaled to 0 to 1 before
    they are divided, as in the MATLAB code, which gives other values.

    Edge cases: a degenerate map is a uniform density.
    """

    def one(values: np.ndarray, density: np.ndarray) -> float:
        if minmax:
            values, density = values - values.min(), density - density.min()
        return float(np.minimum(to_density(values), to_density(density)).sum())

    return _each(one, maps, densities)


@METRICS.register(
    "kld",
    family=FAMILY,
    direction="down",
    range=(0.0, np.inf),
    level="image",
    label="KLD",
    source=BENCHMARK,
    needs=("heatmap", "density"),
    unit="nat",
    partial=True,
)
def kld(maps: Maps, densities: Maps) -> np.ndarray:
    """Return the Kullback-Leibler divergence of the map from the fixation density.

    The sum over pixels of Q log(eps + Q / (P + eps)), with the density Q, the map divided by its sum P, and eps
    2.2204e-16. Maps with negative values are shifted to 0 first.

    Edge cases: a degenerate map is a uniform density.
    """

    def one(values: np.ndarray, density: np.ndarray) -> float:
        people, model = to_density(density), to_density(values)
        return float((people * np.log(EPS + people / (model + EPS))).sum())

    return _each(one, maps, densities)


@METRICS.register(
    "information_gain",
    family=FAMILY,
    direction="up",
    range=(-np.inf, np.inf),
    level="image",
    label="Information gain",
    source="Kümmerer et al. 2015 (arXiv 1409.7686)",
    needs=("heatmap", "fixations", "baseline"),
    unit="bit",
    partial=True,
)
def information_gain(maps: Maps, fixations: Maps, baselines: Maps) -> np.ndarray:
    """Return by how many bits a fixation is likelier under the map than under a baseline that has not seen the image.

    The mean over fixations of log2 P - log2 B, each shifted to 0 where it has negative values, increased by 2.2204e-16
    and divided by its sum. ``baselines`` are (h, w): the protocol says which, the uniform density or the center bias
    of the other images. A map that is 0 where people look pays for it with some 40 bits: compare methods whose maps
    are made alike.

    Edge cases: a degenerate map is a uniform density.
    """

    def one(values: np.ndarray, pixels: np.ndarray, baseline: np.ndarray) -> float:
        found = (np.log2(to_density(each, EPS)[_at(pixels)]) for each in (values, baseline))
        return float((next(found) - next(found)).mean())

    return _each(one, maps, fixations, baselines)


def to_density(values: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Return a map as a density of sum 1, shifted to 0 where it has negative values, then increased by ``least``.

    What is 0 everywhere becomes the uniform density.
    """
    values = values - min(values.min(), 0) + least
    total = values.sum()
    return values / total if total > 0 else np.full(values.shape, 1 / values.size)


def _each(one: Callable[..., float], maps: Maps, *others: Maps, exact: bool = False) -> np.ndarray:
    """Return what a function finds for each image, float64 (n,); NaN where one has neither fixations nor a density.

    ``exact`` keeps the maps' own numbers, which are only compared; else they are float64.
    """
    found = []
    for values, *evidence in zip(maps, *others, strict=True):
        values = _finite(values) if exact else _finite(values).astype(np.float64)
        found.append(one(values, *evidence) if _is_known(evidence[0]) else np.nan)
    return np.array(found, np.float64)


def _is_known(evidence: np.ndarray) -> bool:
    """Whether an image has fixations (k, 2), or a density (h, w) that is not 0."""
    return len(evidence) > 0 and (np.issubdtype(evidence.dtype, np.integer) or bool(evidence.any()))


def _finite(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    # A degenerate map is scored as a constant one, to the bit.
    if not np.isfinite(values).all() or values.min() == values.max():
        return np.zeros(values.shape, values.dtype)
    return values


def _at(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return pixels[:, 0], pixels[:, 1]


def _below_pixels(found: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return how many pixels are smaller than each of some values of a map, equal ones counted half: no sort of all.

    Pixels in lower bins are smaller, as binning keeps the order; only those that share a bin with a value are sorted.
    """
    low, spread = values.min(), values.max() - values.min()
    with np.errstate(over="ignore", divide="ignore"):
        scale = values.dtype.type(BINS) / spread
    if not (np.isfinite(spread) and np.isfinite(scale)):
        return _below(found, np.sort(values, axis=None))
    bins, own = (((each - low) * scale).astype(np.intp) for each in (values.ravel(), found))
    counts = np.bincount(bins, minlength=BINS + 2)
    shared = np.zeros(len(counts), bool)
    shared[own] = True
    lower = np.cumsum(np.where(shared, 0, counts))
    return _below(found, np.sort(values.ravel()[shared[bins]])) + lower[own]


def _below(values: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Return how many of ``ordered`` are smaller than each value, equal ones counted half."""
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2
