"""Average precision of multi-label data, of all images or of weighted ones, as a bootstrap draws them."""

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
        self.n, self._classes = len(logits), []
        for scores, present in zip(logits.T, sets.T, strict=True):
            order = np.flatnonzero(present >= 0)
            order = order[np.argsort(-scores[order], kind="stable")]
            # The last image of each threshold: those of one logit come in together.
            ends = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)
            if (present == 1).any():
                self._classes.append((order, present[order] == 1, ends))

    def mean_average_precision(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean over classes (m,), given how often each image counts (m, n); NaN without any positive."""
        found = np.stack([_average_precision(weights[:, order], *about) for order, *about in self._classes])
        some = ~np.isnan(found)
        with np.errstate(invalid="ignore"):
            return np.where(some, found, 0).sum(0) / some.sum(0)


def _average_precision(weights: np.ndarray, present: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the average precision (m,) of a class; NaN where no image that counts has it."""
    above = weights.cumsum(1)[:, ends]
    positive = (weights * present).cumsum(1)[:, ends]
    gained = np.diff(positive, axis=1, prepend=0)
    total = positive[:, -1]
    with np.errstate(invalid="ignore"):
        return (gained * positive / np.maximum(above, 1e-300)).sum(1) / total


def mean_of_all(logits: np.ndarray, sets: np.ndarray) -> float:
    """Return the mean average precision of images that count once each: of (n, classes) both, as `RankedImages`."""
    ranked = RankedImages(logits, sets)
    return float(ranked.mean_average_precision(np.ones((1, ranked.n)))[0])
