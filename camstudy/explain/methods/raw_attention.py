"""Raw attention: what the token of a CA-Stream looks at, the same for every class, without a backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError
from camstudy.explain.registry import METHODS, check, check_choice

if TYPE_CHECKING:
    from torch import Tensor

    from camstudy.explain.context import Context

VALUES = ("softmax", "scores")


@METHODS.register(
    "raw_attention",
    needs="model",
    resolution="own",
    variant="castream",
    source="Torres et al. 2024, arXiv 2404.14996, section 3.2",
)
def raw_attention(context: Context, *, block: int = -1, values: str = "softmax") -> Tensor:
    """Return the attention of one block's token to the positions (h, w) of the features that the block looks at.

    The scores s_ij = sum_k q_k F_kij / sqrt(c) are a class activation map whose weights are the token's, not a class's:
    which class is explained plays no part. One forward pass.

    Parameters
    ----------
    block : number of the block in the model's stream, from 0, or from the last with -1; earlier blocks have larger
        maps, and where the stream starts later there are fewer
    values : ``softmax``: over positions, values >= 0 that sum to 1, with which features are pooled. ``scores``: before
        the softmax, of any sign; within an image the order of positions is the same.
    """
    import torch

    check_choice("raw_attention", "values", values, VALUES)
    blocks = getattr(getattr(context.model, "stream", None), "blocks", None)
    if blocks is None:
        raise CamstudyError(
            f"method `raw_attention`: {type(context.model).__name__} has no stream; take a model with "
            "`variant: {castream: {}}`"
        )
    valid = -len(blocks) <= block < len(blocks)
    check(valid, "raw_attention", "block", block, f"from {-len(blocks)} to {len(blocks) - 1}")
    found: list[Tensor] = []
    handle = blocks[block].register_forward_hook(lambda _block, _inputs, outputs: found.append(outputs[1]))
    try:
        for images in context.images.split(context.batch_size):
            context.model(images)
    finally:
        handle.remove()
    scores = torch.cat(found)
    return scores if values == "scores" else scores.flatten(1).softmax(1).reshape(scores.shape)
