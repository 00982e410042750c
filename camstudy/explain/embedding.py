"""Networks without a classifier, explained by what an image's embedding has in common with reference embeddings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import Dataset
from camstudy.explain.batches import in_batches, plain_float32
from camstudy.explain.layers import frozen
from camstudy.models.inputs import prepare

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
    references : (references, dimensions); with one that is zero, every cosine is 0
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
            found = [_embedded(network, part) for part in images.split(batch_size)]
            means.append(F.normalize(torch.cat(found), dim=1).mean(0))
    return torch.stack(means)


def class_means(
    network: nn.Module, inputs: Mapping, dataset: Dataset, *, first: int | None = None, batch_size: int = 32
) -> Tensor:
    """Return the mean embedding of each class's images in a dataset, float32 (classes, dimensions).

    Each image counts alike, with length 1. A class without images has a mean of zeros.

    Parameters
    ----------
    network : returns embeddings (n, dimensions), on the device that does the work
    inputs : how images are prepared, from `camstudy.models.build.input_config`
    dataset : images and labels, none of them unknown
    first : how many images of each class count, in the order of the dataset; None for all
    batch_size : images per pass; halved as often as the device runs out of memory

    Raises
    ------
    CamstudyError
        for a network that returns no embeddings, and if memory does not suffice for one image.
    """
    labels, device = dataset.labels, next(network.parameters()).device
    if labels.min() < 0:
        raise CamstudyError(f"{dataset.path}: has no labels, whose images `target: embedding` compares with")
    chosen = np.arange(dataset.n) if first is None else np.sort(_first(labels, first))
    found = torch.from_numpy(_units(embeddings(network, inputs, dataset, chosen, batch_size)))
    sums = torch.zeros(int(labels.max()) + 1, found.shape[1]).index_add_(0, torch.from_numpy(labels[chosen]), found)
    counts = torch.from_numpy(np.bincount(labels[chosen], minlength=len(sums))).clamp(min=1)
    return (sums / counts[:, None]).to(device)


def embeddings(
    network: nn.Module, inputs: Mapping, dataset: Dataset, images: np.ndarray, batch_size: int
) -> np.ndarray:
    """Return the embeddings of some images, float32 (k, dimensions), by their ascending numbers ``images`` (k,).

    The network runs in plain float32 and evaluation mode; the others are arguments of `class_means`.
    """
    device = next(network.parameters()).device

    def work(part: slice, _: int) -> np.ndarray:
        # All as a slice, which stores read faster.
        chosen = part if len(images) == dataset.n else images[part]
        return _embedded(network, prepare(dataset.images(chosen), inputs, device)).float().cpu().numpy()

    with frozen(network), torch.inference_mode(), plain_float32(device):
        batches, _ = in_batches(work, len(images), batch_size, device)
    return np.concatenate(batches)


def cosines_with_others(found: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the cosines of embeddings (n, dimensions) with each class's mean of them, float32 (n, classes).

    An image is left out of the mean of its own class: what is left of a class of a single image has a cosine of 0.
    """
    units, images = _units(found).astype(np.float64), np.arange(len(labels))
    sums = np.zeros((labels.max() + 1, units.shape[1]))
    np.add.at(sums, labels, units)
    cosines = units @ _units(sums).T
    others = sums[labels] - units
    # What rounding leaves of a single image is no direction.
    others[np.bincount(labels)[labels] == 1] = 0
    cosines[images, labels] = (units * _units(others)).sum(1)
    return cosines.astype(np.float32)


def _embedded(network: nn.Module, images: Tensor) -> Tensor:
    found = network(images)
    if not isinstance(found, Tensor) or found.ndim != 2:
        raise CamstudyError(
            f"target embedding: {type(network).__name__} returns no embeddings (n, dimensions); of timm's networks, "
            "`num_classes=0` makes one that does"
        )
    return found


def _first(labels: np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([np.flatnonzero(labels == label)[:count] for label in np.unique(labels)])


def _units(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, dimensions) of length 1; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
