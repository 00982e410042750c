"""Repulsion of the positions within kernels of DCLS layers (released code of arXiv 2112.03740)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from camstudy.training.terms import TERMS, Batch

if TYPE_CHECKING:
    from torch import Tensor


def _settings(recipe: Mapping) -> Mapping | None:
    positions = recipe["positions"]
    return {"from_epoch": positions["repulsive_from_epoch"]} if positions["repulsive_loss"] else None


@TERMS.register("repulsion", settings=_settings, of="weights")
def repulsion(batch: Batch, *, from_epoch: int) -> Tensor:
    """Return the loss that keeps elements of a kernel a pixel apart: a scalar >= 0, 0 before ``from_epoch``."""
    from camstudy.models.variants.dcls import repulsive_loss

    if batch.epoch < from_epoch:
        return batch.logits.new_zeros(())
    return repulsive_loss(batch.network)
