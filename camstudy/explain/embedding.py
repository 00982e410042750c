"""Networks without a classifier, explained by what an image's embedding has in common with reference embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.explain.layers import frozen

# By which attention methods know how a transformer reads its tokens.
READING = ("num_prefix_tokens", "global_pool", "pool_include_prefix", "head_dist")


class Similarity(nn.Module):
    """A network whose logits (n, references) are cosines of its output and reference embeddings.

    So every method explains to which reference an image is similar, and why; each reference is a class. Of networks
    such as DINO and CLIP's image tower, whose output (n, dimensions) is an embedding. Nothing of it is changed or
    copied; its layers are found in it as before.

    Parameters
    ----------
    network : returns embeddings (n, dimensions)
    references : (references, dimensions), none of them zero
    """

    def __init__(self, network: nn.Module, references: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("references", F.normalize(references.detach(), dim=1))
        for name in READING:
            if not isinstance(value := getattr(network, name, None), nn.Module | None):
                setattr(self, name, value)

    def forward(self, images: Tensor) -> Tensor:
        """Return cosines (n, references)."""
        return F.normalize(self.network(images), dim=1) @ self.references.T


def reference_embeddings(network: nn.Module, groups: Sequence[Tensor], batch_size: int = 32) -> Tensor:
    """Return the mean embedding (groups, dimensions) of each group of prepared images (n, 3, s, s).

    Each image counts alike: the mean is that of embeddings of length 1. A group may be a single image. Raises
    `CamstudyError` for outputs that are not embeddings, and for a group without images.
    """
    means = []
    with frozen(network), torch.no_grad():
        for number, images in enumerate(groups):
            if not len(images):
                raise CamstudyError(f"target embedding: reference {number} has no images")
            found = [network(part) for part in images.split(batch_size)]
            if not isinstance(found[0], Tensor) or found[0].ndim != 2:
                raise CamstudyError(
                    f"target embedding: {type(network).__name__} returns no embeddings (n, dimensions); of timm's "
                    "networks, `num_classes=0` makes one that does"
                )
            means.append(F.normalize(torch.cat(found), dim=1).mean(0))
    return torch.stack(means)
