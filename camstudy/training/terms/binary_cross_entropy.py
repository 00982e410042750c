"""Binary cross-entropy of each class on its own: what the training of a sigmoid head starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.training.terms import TERMS, Batch

if TYPE_CHECKING:
    from torch import Tensor


@TERMS.register(
    "binary_cross_entropy",
    settings=lambda recipe: {"label_smoothing": recipe["label_smoothing"]},
    heads=("sigmoid",),
)
def binary_cross_entropy(batch: Batch, *, label_smoothing: float) -> Tensor:
    """Return the mean over images and classes of -t log p - (1 - t) log(1 - p), p the sigmoid of the logit.

    t is 1 for classes that are in the image and 0 for others, less half of the smoothing. Classes that are neither (-1)
    add nothing, but count in the mean, so that parts of a batch add up to it.
    """
    from torch.nn import functional as F

    counts = batch.labels >= 0
    targets = batch.labels.clamp(min=0).to(batch.logits.dtype) * (1 - label_smoothing) + label_smoothing / 2
    return (F.binary_cross_entropy_with_logits(batch.logits, targets, reduction="none") * counts).mean()
