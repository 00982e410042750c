"""Classification accuracy from logits, per image; of multi-label data, what mean average precision is made from."""

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.metrics.average_precision import LABEL_SET, LOGITS
from camstudy.metrics.registry import METRICS, image_metrics

FAMILY = "prediction"


def score_prediction(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Return ``predicted`` and every registered metric of this family, as arrays (n,) by name.

    ``predicted`` (int64) is the class of the largest logit, the first of ties. ``logits`` (n, classes) are
    finite floats, ``labels`` (n,) integers in [0, classes); ValueError otherwise.
    """
    scores = {metric.name: metric.function(logits, labels) for metric in image_metrics(FAMILY)}
    return {"predicted": np.argmax(logits, axis=1).astype(np.int64), **scores}


def score_label_sets(logits: np.ndarray, labels: np.ndarray, sets: np.ndarray) -> dict[str, np.ndarray | list]:
    """Return what is known of items of multi-label data, by name, from logits whose probabilities are sigmoids.

    ``predicted`` as `score_prediction`; ``probability`` of the item's class, float64 (n,); and of its image, for mean
    average precision, lists of n arrays (classes,): ``class_logit``, float32, and ``label_set``, int8.

    Parameters
    ----------
    logits : finite (n, classes)
    labels : the items' classes, integers (n,)
    sets : which classes are in their images, (n, classes), see `camstudy.data.dataset`
    """
    logits, labels = _check(logits, labels)
    if sets.shape != logits.shape:
        raise ValueError(f"expected label sets {logits.shape}, found {sets.shape}")
    own = logits[np.arange(len(labels)), labels]
    return {
        "predicted": np.argmax(logits, axis=1).astype(np.int64),
        "probability": np.exp(-np.logaddexp(0, -own)),
        LOGITS: list(logits.astype(np.float32)),
        LABEL_SET: list(sets.astype(np.int8)),
    }


def check_labels(labels: np.ndarray, classes: int, where: str) -> None:
    """Raise `CamstudyError` unless all labels (n,) of the dataset ``where`` are among a model's ``classes``."""
    if (labels < 0).any():
        raise CamstudyError(
            f"{where}: has images without a label; set `prediction_dataset` to a dataset that has labels"
        )
    if (labels >= classes).any():
        raise CamstudyError(
            f"{where}: has labels up to {labels.max()}, but the model has {classes} classes; set "
            "`prediction_dataset` to a dataset with the model's classes"
        )


@METRICS.register(
    "top1",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Top-1",
    source="Russakovsky et al. 2015 (arXiv 1409.0575)",
    needs=("logits", "label"),
)
def top1(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether the label has the largest logit, as bool (n,).

    Edge cases: among ties the lower class is first.
    """
    return _rank_of_label(logits, labels) < 1


@METRICS.register(
    "top5",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Top-5",
    source="Russakovsky et al. 2015 (arXiv 1409.0575)",
    needs=("logits", "label"),
)
def top5(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether the label is among the five largest logits, as bool (n,).

    Edge cases: ties as for `top1`; trivially true with five classes or fewer.
    """
    return _rank_of_label(logits, labels) < 5


@METRICS.register(
    "probability",
    family=FAMILY,
    direction="up",
    range=(0.0, 1.0),
    level="image",
    label="Probability of the label",
    source="softmax or sigmoid of the logits, in float64",
    needs=("logits", "label"),
)
def probability(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the softmax probability of the label, exp(y) / sum_k exp(y_k), as float64 (n,) in [0, 1].

    With a sigmoid head, that of the item's class, 1 / (1 + exp(-y)).

    Edge cases: none; logits must be finite.
    """
    logits, labels = _check(logits, labels)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted[np.arange(len(labels)), labels] / shifted.sum(axis=1)


def _rank_of_label(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many classes come before the label when logits are sorted in a stable, descending order."""
    logits, labels = _check(logits, labels)
    own = logits[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return np.count_nonzero((logits > own) | ((logits == own) & earlier), axis=1)


def _check(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, labels = np.asarray(logits, dtype=np.float64), np.asarray(labels)
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"expected logits (n, classes) and labels (n,), found {logits.shape} and {labels.shape}")
    if not np.isfinite(logits).all():
        raise ValueError("logits hold a non-finite value")
    if ((labels < 0) | (labels >= logits.shape[1])).any():
        raise ValueError(f"labels must lie in 0..{logits.shape[1] - 1}, found {labels.min()}..{labels.max()}")
    return logits, labels
