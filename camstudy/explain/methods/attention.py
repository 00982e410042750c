"""Maps made of a transformer's attention, as large as its grid of patches.

Of networks whose blocks attend from each token to each: ViT, DeiT, DINO, CLIP, EVA, BEiT. The map is the row of the
token that the network reads, see `camstudy.explain.attention.Reading`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError
from camstudy.explain.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from camstudy.explain.context import Context


@METHODS.register(
    "attention_rollout",
    needs="model",
    resolution="own",
    attention=True,
    answers=True,
    source="Abnar and Zuidema 2020, arXiv 2005.00928, section 3",
)
def attention_rollout(context: Context) -> Tensor:
    """Return the row of A_L ... A_1, values >= 0, A_b = 0.5 I + 0.5 mean over heads of block b's attention.

    Which class is explained plays no part. One forward pass; each block's mean over heads is held, and from the last
    block to the first a row is multiplied, not a matrix.
    """
    from camstudy.explain.attention import in_parts, reading, watched

    name = "attention_rollout"

    def work(images: Tensor, _targets: Tensor) -> tuple[Tensor, int]:
        means: list[Tensor] = []
        held: list[int] = []

        def note(_index: int, weights: Tensor) -> None:
            means.append(weights.mean(1))
            held.append(weights[0].numel())

        with watched(context.model, name, len(images), note):
            context.model(images)
        read = reading(context.model, means[0], name)
        row = read.row.to(means[0]).expand(len(images), 1, -1)
        for mean in reversed(means):
            row = (row + row @ mean) / 2
        return read.map(row), sum(held[:1]) + sum(mean[0].numel() for mean in means)

    return in_parts(context, work)


@METHODS.register(
    "gae",
    needs="model",
    resolution="own",
    attention=True,
    source="Chefer et al. 2021, arXiv 2103.15679, eq. 5-6",
)
def gae(context: Context) -> Tensor:
    """Return the row of R, values >= 0: from R = I, for each block R <- R + mean over heads of ReLU(dy/dA A) R.

    Generic attention explainability; y is the logit of the class. A pass forward and back; the attention of all blocks
    is held, of so many images at a time that memory does not depend on how many there are.
    """
    import torch

    from camstudy.explain.attention import in_parts, reading, watched

    def work(images: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        kept: list[Tensor] = []

        def note(_index: int, weights: Tensor) -> None:
            # The first is the leaf of the graph, on which all that follows depends.
            kept.append(weights if weights.requires_grad else weights.requires_grad_())

        with torch.enable_grad(), watched(context.model, "gae", len(images), note):
            chosen = context.model(images).gather(1, targets[:, None]).sum()
        gradients = torch.autograd.grad(chosen, kept)
        read = reading(context.model, kept[0], "gae")
        row = read.row.to(kept[0]).expand(len(images), 1, -1)
        # From the last block: R = (I + E_L) ... (I + E_1), of which a row is needed.
        for weights, gradient in zip(reversed(kept), reversed(gradients), strict=True):
            row = row + row @ (gradient * weights.detach()).relu().mean(1)
        return read.map(row), sum(weights[0].numel() for weights in kept)

    return in_parts(context, work)


@METHODS.register(
    "class_embedding_projection",
    needs="model",
    resolution="own",
    attention=True,
    source="Vilas et al. 2023, arXiv 2310.18969, and its code",
)
def class_embedding_projection(context: Context) -> Tensor:
    """Return -sum over blocks and heads of dl/dA of the row, of any sign: what a block's attention adds to the class.

    What a block's attention adds to the tokens, LayerScale included, goes through the network's last norm and its
    classifier, and l is the cross-entropy of the class with the softmax of the softmax of the result: the second one
    is part of the published method. Each block on its own, so that one block's attention is held. Some two passes.

    Raises `CamstudyError` for networks without a norm and a classifier of tokens, and for blocks of another kind.
    """
    import torch
    from torch.nn import functional as F

    from camstudy.explain.attention import blocks_of, in_parts, reading, watched

    name, model = "class_embedding_projection", context.model
    branches = [_branch(model, path, name) for path, _ in blocks_of(model, name)]

    def work(images: Tensor, targets: Tensor) -> tuple[Tensor, int]:
        held: list[Tensor] = []
        total: list[Tensor] = []

        def note(_index: int, weights: Tensor) -> Tensor:
            held[:] = [weights.detach().requires_grad_()]
            return held[0]

        def project(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            logits = model.forward_head(model.norm(output))
            loss = F.cross_entropy(logits.softmax(1), targets, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, held[0])
            total[:] = [sum(total) - gradient.sum(1)]
            return output.detach()

        handles = [branch.register_forward_hook(project) for branch in branches]
        try:
            with torch.enable_grad(), watched(model, name, len(images), note):
                model(images)
        finally:
            for handle in handles:
                handle.remove()
        read = reading(model, held[0], name)
        return read.map(read.row.to(total[0]) @ total[0]), held[0][0].numel()

    return in_parts(context, work)


def _branch(model: nn.Module, path: str, method: str) -> nn.Module:
    """Return the module through which what an attention adds goes last, before it is added to the tokens."""
    block = model.get_submodule(path.rpartition(".")[0])
    branch = getattr(block, "drop_path1", None)
    if branch is None or not all(hasattr(model, part) for part in ("norm", "forward_head")):
        raise CamstudyError(
            f"method `{method}`: in {type(model).__name__} it is not known what `{path}` adds to the tokens, or how "
            "tokens are classified; take another method, or a ViT of timm"
        )
    return branch
