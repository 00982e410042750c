"""Attention of transformers: each block's weights as a pass computes them, with timm's fused attention off meanwhile.

Known are attentions (n, heads, tokens, tokens) that a module of timm, or one like it, sends through its ``attn_drop``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.tokens import prefix_tokens

if TYPE_CHECKING:
    from camstudy.explain.context import Context

# Numbers of attention weights that are held at once, of all blocks that a method keeps: a GB in all with gradients.
HELD = 2**26


@dataclass(frozen=True)
class Reading:
    """How a network reads its tokens: the ``rows`` that its pooling takes, and the positions, after ``prefix`` others.

    Rows are those of the class token, of both class and distillation token where two heads answer, or of all positions
    where their mean is taken. Registers, as all tokens before the positions, are in no map, but attention goes through
    them.
    """

    rows: list[int]
    prefix: int
    side: int

    @property
    def row(self) -> Tensor:
        """What multiplies weights (n, tokens, tokens) from the left to give the mean of the rows: (1, tokens)."""
        row = torch.zeros(1, self.prefix + self.side**2)
        row[:, self.rows] = 1 / len(self.rows)
        return row

    def map(self, row: Tensor) -> Tensor:
        """Return the maps (n, side, side) in rows of weights, (n, 1, tokens): the positions."""
        return row[:, 0, self.prefix :].unflatten(1, (self.side, self.side))


def blocks_of(model: nn.Module, method: str) -> list[tuple[str, nn.Module]]:
    """Return paths and modules of a network's attentions, in the order of their definition.

    Raises `CamstudyError` if it has none.
    """
    found = [
        (path, module)
        for path, module in model.named_modules()
        if isinstance(getattr(module, "attn_drop", None), nn.Module) and "attn_pool" not in path
    ]
    if not found:
        raise CamstudyError(
            f"method `{method}`: {type(model).__name__} has no attention that can be read, as a transformer of timm "
            "has; take another model, or another method"
        )
    return found


@contextmanager
def watched(
    model: nn.Module, method: str, n: int, note: Callable[[int, Tensor], Tensor | None]
) -> Iterator[list[tuple[str, nn.Module]]]:
    """Call ``note`` with number and weights (n, heads, tokens, tokens) of each attention of ``n`` images.

    What it returns replaces the weights.

    Fused attention, which computes no weights, is off within and as it was afterwards. Raises `CamstudyError` for a
    network without attention, and for attention in windows, between stages or among classes alone.
    """
    blocks = blocks_of(model, method)
    tokens: set[int] = set()

    def hook(index: int) -> Callable:
        def called(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor | None:
            shape = tuple(output.shape)
            tokens.add(shape[-1])
            if len(shape) != 4 or shape[0] != n or shape[2] != shape[3] or len(tokens) > 1:
                raise CamstudyError(
                    f"method `{method}`: the attention `{blocks[index][0]}` of {type(model).__name__} has weights of "
                    f"shape {shape} for {n} images, not from each of the same tokens to each in all blocks; take "
                    "another method, such as Grad-CAM, or another model"
                )
            return note(index, output)

        return called

    fused = [(module, module.fused_attn) for _, module in blocks if hasattr(module, "fused_attn")]
    handles = [module.attn_drop.register_forward_hook(hook(index)) for index, (_, module) in enumerate(blocks)]
    try:
        for module, _ in fused:
            module.fused_attn = False
        yield blocks
    finally:
        for module, flag in fused:
            module.fused_attn = flag
        for handle in handles:
            handle.remove()


def reading(model: nn.Module, weights: Tensor, method: str) -> Reading:
    """Return how a network reads tokens whose attention weights are (n, heads, tokens, tokens).

    Told by timm's ``num_prefix_tokens`` and ``global_pool``; a network without these reads its first token if there is
    any before the positions, else the mean. Raises `CamstudyError` for positions that are no square, and for pooling
    that reads tokens otherwise, as by a maximum or by attention.
    """
    tokens, name = weights.shape[-1], type(model).__name__
    prefix = getattr(model, "num_prefix_tokens", None)
    prefix = prefix_tokens(tokens) if prefix is None else prefix
    side = 0 if prefix is None else math.isqrt(tokens - prefix)
    if prefix is None or prefix + side**2 != tokens:
        raise CamstudyError(f"method `{method}`: the {tokens} tokens of {name} are not those of a square grid")
    pool = getattr(model, "global_pool", None)
    if not isinstance(pool, str) or not pool:
        pool = "token" if prefix else "avg"
    if pool not in ("token", "avg") or (pool == "token" and not prefix):
        raise CamstudyError(
            f"method `{method}`: {name} pools its tokens by `{pool}`, of which no row of the attention can be told; "
            "take another method, or a model that reads a class token or the mean"
        )
    if pool == "token":
        return Reading([0, 1] if hasattr(model, "head_dist") else [0], prefix, side)
    return Reading(list(range(0 if getattr(model, "pool_include_prefix", False) else prefix, tokens)), prefix, side)


def in_parts(context: Context, work: Callable[[Tensor, Tensor], tuple[Tensor, int]]) -> Tensor:
    """Return the maps of ``work(images, targets)`` for parts of a batch, so small that weights take bounded memory.

    ``work`` also returns how many weights it holds for an image. The first part is one image.
    """
    maps, start, size = [], 0, 1
    while start < len(context.images):
        part = slice(start, start + size)
        found, held = work(context.images[part], context.target[part])
        maps.append(found)
        start, size = start + size, max(1, min(context.batch_size, HELD // held))
    return torch.cat(maps)
