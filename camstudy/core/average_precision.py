"""Average precision of multi-label data, of all images or of weighted ones, as a bootstrap draws them."""

from typing import NamedTuple

import numpy as np


class RankedImages:
    """Images in the order of their logits, class by class: made once, asked for any weights.

    ``logits`` are finite (n, classes); ``sets`` (n, classes) say which classes are in an image: 1, 0, or -1 where the
    image does not count for the class. ValueError otherwise.
    """

    def __init__(self, logits: np.ndarray, sets: np.ndarray) -> None:
        logits, sets = np.asarray(logits, np.float64), np.asarray(sets)
        if logits.ndim != 2 or sets.shape != logits.shape:
            raise ValueError(f"expected logits and label sets (n, classes), found {logits.shape} and {sets.shape}")
        if not np.isfinite(logits).all():
            raise ValueError("logits hold a non-finite value")
        self.n = len(logits)
        ranked = (_Ranking.of(*one) for one in zip(logits.T, sets.T, strict=True))
        self._classes = [ranking for ranking in ranked if len(ranking.positives)]

    def mean_average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean over classes (m,), given how often each image counts, integers (m, n).

        Classes that no image has which counts are left out; NaN without any class.
        """
        # Images first, so that those of a class are taken and added up in whole rows.
        counts = np.ascontiguousarray(weights.T, np.int32)
        found = np.stack([ranking.average_precision(counts) for ranking in self._classes])
        some = ~np.isnan(found)
        with np.errstate(invalid="ignore"):
            return np.where(some, found, 0).sum(0) / some.sum(0)


class _Ranking(NamedTuple):
    """Images (k,) in the order of a class's logits, down to the last that has it, and among them those that have it.

    Of thresholds that images with the class have, ``starts`` are the first images, ``firsts`` the first of the
    ``positives``; images of one logit come in together.
    """

    images: np.ndarray
    starts: np.ndarray
    positives: np.ndarray
    firsts: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, present: np.ndarray) -> "_Ranking":
        order = np.flatnonzero(present >= 0)
        order = order[np.argsort(-scores[order], kind="stable")]
        places = np.flatnonzero(present[order] == 1)
        # After the last image of the same logit as each image that has the class.
        ends = np.searchsorted(-scores[order], -scores[order[places]], side="right")
        ends, firsts = np.unique(ends, return_index=True)
        return cls(order[: ends.max(initial=0)], np.append(0, ends[:-1]), order[places], firsts)

    def average_precision(self, counts: np.ndarray) -> np.ndarray:
        """Return the average precision (m,), given how often images count (n, m); NaN where none has the class."""
        above = np.add.reduceat(counts[self.images], self.starts).cumsum(0)
        gained = np.add.reduceat(counts[self.positives], self.firsts)
        positive = gained.cumsum(0)
        with np.errstate(invalid="ignore"):
            return (gained * positive / np.maximum(above, 1)).sum(0) / positive[-1]


def mean_of_all(logits: np.ndarray, sets: np.ndarray) -> float:
    """Return the mean average precision of images that count once each: of (n, classes) both, as `RankedImages`."""
    ranked = RankedImages(logits, sets)
    return float(ranked.mean_average_precision(np.ones((1, ranked.n)))[0])
