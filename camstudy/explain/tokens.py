"""Networks whose positions are tokens: which layer of them is explained by default, and which have no order of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence

import timm.models as zoo
import torchvision
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError

# Class of the network, where its last blocks are, and their first norm: what enters the last attention, as past it a
# network that reads its class token does not look at the other tokens.
LAST_BLOCKS: Sequence[tuple[type[nn.Module], str, str]] = (
    (zoo.VisionTransformer, "blocks", "norm1"),
    (zoo.Eva, "blocks", "norm1"),
    (zoo.Beit, "blocks", "norm1"),
    (zoo.NaFlexVit, "blocks", "norm1"),
    (zoo.VisionTransformerRelPos, "blocks", "norm1"),
    (zoo.ConVit, "blocks", "norm1"),
    (zoo.TNT, "blocks", "norm_out"),
    (zoo.Cait, "blocks_token_only", "norm1"),
    (zoo.Xcit, "cls_attn_blocks", "norm1"),
    (zoo.volo.VOLO, "post_network", "norm1"),
    (torchvision.models.VisionTransformer, "encoder.layers", "ln_1"),
)
# Sides of the prefix: class, distillation and register tokens come first. More than these are none.
MOST_PREFIX_TOKENS = 16


def token_path(model: nn.Module) -> str | None:
    """Return the path of the layer that is explained in a transformer's family by default; None for other networks.

    It is the first norm of the last block: of ViT, DeiT, DINO, CLIP, EVA, BEiT and others of one resolution, of the
    last block of class attention in CaiT, XCiT and VOLO, of the last stage in PiT and of the coarsest scale in CoaT.
    Raises `CamstudyError` for CrossViT, whose two branches have patches of different sizes.
    """
    if isinstance(model, zoo.CrossVit):
        raise CamstudyError(
            "target_layer: CrossVit has no default, as its two branches see patches of different sizes; name a layer "
            f"of one of them, such as `blocks.{len(model.blocks) - 1}.blocks.1.0.norm1`"
        )
    if isinstance(model, zoo.pit.PoolingVisionTransformer):
        stage = len(model.transformers) - 1
        return f"transformers.{stage}.blocks.{len(model.transformers[stage].blocks) - 1}.norm1"
    if isinstance(model, zoo.CoaT):
        if model.parallel_blocks:
            return f"parallel_blocks.{len(model.parallel_blocks) - 1}.norm14"
        return f"serial_blocks4.{len(model.serial_blocks4) - 1}.norm1"
    for family, blocks, norm in LAST_BLOCKS:
        if isinstance(model, family):
            names = [name for name, _ in model.get_submodule(blocks).named_children()]
            return f"{blocks}.{names[-1]}.{norm}"
    return None


def refuse_windows(model: nn.Module, path: str) -> None:
    """Raise `CamstudyError` for a layer of Hiera whose tokens are ordered by windows, not row by row.

    Only those of the last stage, each a window of its own by then, are in the order of rows.
    """
    if not isinstance(model, zoo.Hiera):
        return
    parts, first = path.split("."), model.stage_ends[-2] + 1
    if parts[0] not in ("unroll", "blocks"):
        return
    # The first block of the last stage pools within.
    if len(parts) > 1 and (int(parts[1]) > first or (int(parts[1]) == first and len(parts) == 2)):
        return
    raise CamstudyError(
        f"target_layer `{path}`: the tokens of Hiera are ordered by windows before the end of its block {first}, and "
        f"maps of them would be scrambled; name a later layer, such as `blocks.{len(model.blocks) - 1}`"
    )


def prefix_tokens(count: int) -> int | None:
    """Return how many of ``count`` tokens come before those of the positions, None where they are no square.

    The largest square is that of the positions, as `camstudy.explain.layers.to_nchw` takes it.
    """
    side = math.isqrt(count)
    prefix = count - side * side
    return prefix if side > 1 and prefix <= min(MOST_PREFIX_TOKENS, side * side // 4) else None


def says_something(output: Tensor, gradient: Tensor) -> bool:
    """Return whether any of the positions of tokens (n, tokens, C) has a gradient, as class tokens alone may have."""
    return bool(gradient[:, prefix_tokens(output.shape[1]) :].any())
