"""Cross-entropy of the classes, with label smoothing (arXiv 1512.00567): what training of a softmax starts from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.training.terms import TERMS, Batch

if TYPE_CHECKING:
    from torch import Tensor


@TERMS.register(
    "cross_entropy", settings=lambda recipe: {"label_smoothing": recipe["label_smoothing"]}, heads=("softmax",)
)
def cross_entropy(batch: Batch, *, label_smoothing: float) -> Tensor:
    """Return the mean over the images of -sum_k t_k log p_k, t the label's class less what is spread over all."""
    from torch.nn import functional as F

    return F.cross_entropy(batch.logits, batch.labels, label_smoothing=label_smoothing)
