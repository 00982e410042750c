"""Which class of each image is explained: its label, one that the network ranks high, or one of a certain name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError, unknown

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# The image's label; the class of the largest logit; of the second largest; of the largest but for the label's.
TARGETS = ("label", "predicted", "second", "other")
# Of networks without a classifier: the label's class, as the mean embedding of its images.
EMBEDDING = "embedding"
OF_LABELS = ("label", "other", EMBEDDING)
OF_MODEL = ("predicted", "second", "other")


def chosen_classes(logits: Tensor, labels: np.ndarray, target: str) -> Tensor:
    """Return the classes that ``target``, one of `TARGETS`, means for logits (n, classes) and labels (n,), int64 (n,).

    Of equal logits the first counts as the larger one. Raises `CamstudyError` for an unknown target, for labels that
    have no logit, where labels matter, and for the second of a single class.
    """
    import torch

    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    if target in OF_LABELS and (labels.min() < 0 or labels.max() >= logits.shape[1]):
        raise CamstudyError(
            f"labels from {labels.min()} to {labels.max()}, but the model has {logits.shape[1]} classes; check its "
            "`num_classes` and the dataset"
        )
    logits, of_label = logits.detach(), torch.from_numpy(labels).to(logits.device)
    if target == "label":
        return of_label
    if target == "predicted":
        return logits.argmax(1)
    if logits.shape[1] < 2:
        raise CamstudyError(f"target: `{target}` needs two classes, and the model has one; explain the label")
    order = logits.sort(dim=1, descending=True, stable=True).indices
    place = order[:, 0] == of_label if target == "other" else torch.ones_like(order[:, 0])
    return order.gather(1, place.long()[:, None])[:, 0]


def class_number(target: str | int, names: Sequence[str] | None) -> int | None:
    """Return the number of the class that ``target`` names; None for one of `TARGETS` and for `EMBEDDING`.

    Raises `CamstudyError` for a name that is none of the dataset's ``names``, with the nearest, or if it has no names.
    """
    if target in (*TARGETS, EMBEDDING):
        return None
    if isinstance(target, int):
        return target
    if not names:
        raise CamstudyError(
            f"target: found `{target}`, but the dataset's classes have no names; give the number of the class, or one "
            f"of {', '.join(TARGETS)}"
        )
    if target not in names:
        raise unknown("target: class", target, [*TARGETS, EMBEDDING, *names])
    return list(names).index(target)
