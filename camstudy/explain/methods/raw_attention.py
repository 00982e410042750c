"""Raw attention of one block: what a CA-Stream's or a transformer's token looks at, the same for every class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.explain.parameters import check, one_of
from camstudy.explain.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from camstudy.explain.context import Context

VALUES = ("softmax", "scores")


@METHODS.register(
    "raw_attention",
    needs="model",
    resolution="own",
    variant="castream",
    attention=True,
    answers=True,
    source="Torres et al. 2024, arXiv 2404.14996, section 3.2; of transformers, Caron et al. 2021, arXiv 2104.14294",
    allowed={"values": one_of(VALUES)},
)
def raw_attention(context: Context, *, block: int = -1, values: str = "softmax") -> Tensor:
    """Return the attention of one block's token to the positions (h, w) of the features that the block looks at.

    Which class is explained plays no part. One forward pass. Of a model with a CA-Stream, the token is the stream's:
    the scores s_ij = sum_k q_k F_kij / sqrt(c) are a class activation map whose weights are the token's, not a class's.
    Of a transformer, it is the mean over heads of the row of the token that the network reads, see
    `camstudy.explain.attention.Reading`; what the token gives to itself and to registers is left out.

    Parameters
    ----------
    block : number of the block, from 0, or from the last with -1; earlier blocks of a stream have larger maps, and
        where the stream starts later there are fewer
    values : ``softmax``: over positions, values >= 0, of a stream with the sum 1, with which features are pooled.
        ``scores``, of a stream alone: before the softmax, of any sign; within an image the order of positions is the
        same.
    """
    blocks = getattr(getattr(context.model, "stream", None), "blocks", None)
    if blocks is None:
        check(values == "softmax", "raw_attention", "values", values, "`softmax` where the model has no CA-Stream")
        return _of_transformer(context, block)
    return _of_stream(context, blocks, block, values)


def _of_stream(context: Context, blocks: nn.Sequential, block: int, values: str) -> Tensor:
    import torch

    _check_block(block, len(blocks))
    found: list[Tensor] = []
    handle = blocks[block].register_forward_hook(lambda _block, _inputs, outputs: found.append(outputs[1]))
    try:
        for images in context.images.split(context.batch_size):
            context.model(images)
    finally:
        handle.remove()
    scores = torch.cat(found)
    return scores if values == "scores" else scores.flatten(1).softmax(1).reshape(scores.shape)


def _of_transformer(context: Context, block: int) -> Tensor:
    from camstudy.explain.attention import blocks_of, in_parts, reading, watched

    name, count = "raw_attention", len(blocks_of(context.model, "raw_attention"))
    _check_block(block, count)

    def work(images: Tensor, _targets: Tensor) -> tuple[Tensor, int]:
        found: list[Tensor] = []

        def note(index: int, weights: Tensor) -> None:
            if index == block % count:
                found.append(weights)

        with watched(context.model, name, len(images), note):
            context.model(images)
        read = reading(context.model, found[0], name)
        return read.map(read.row.to(found[0]) @ found[0].mean(1)), found[0][0].numel()

    return in_parts(context, work)


def _check_block(block: int, count: int) -> None:
    check(-count <= block < count, "raw_attention", "block", block, f"from {-count} to {count - 1}")
