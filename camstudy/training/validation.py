"""Images of the training set that are held out: loss and accuracy on them after every epoch, and the best epoch."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.core.average_precision import mean_of_all
from camstudy.data.dataset import Dataset
from camstudy.models.inputs import prepare
from camstudy.models.probabilities import Head
from camstudy.training.distributed import Group

LOSS, ACCURACY = "validation_loss", "validation_accuracy"
PRECISION = "validation_mean_average_precision"


def targets(store: Dataset) -> np.ndarray:
    """Return what is learnt of each image: its label, int64 (n,), or of multi-label data its set, int8 (n, classes)."""
    sets = store.label_sets
    return store.labels if sets is None else sets


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """Return whether the first class of each image is its label, or in its set of labels, bool (n,)."""
    first = logits.argmax(1)
    return first == labels if labels.ndim == 1 else labels.gather(1, first[:, None])[:, 0] == 1


def held_out(n: int, share: float, seed: int) -> np.ndarray:
    """Return the positions of the images that are held out of ``n``, in order: the same in every epoch and process."""
    # Three numbers: the orders of the epochs are drawn from two.
    return np.sort(np.random.default_rng([seed, 0, 1]).permutation(n)[: round(share * n)])


def batches(
    store: Dataset, positions: Sequence[int], config: Mapping, size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images, prepared as for evaluation, and labels, ``size`` at a time."""
    labels = targets(store)
    for start in range(0, len(positions), size):
        part = positions[start : start + size]
        yield prepare(store.images(part), config, device), torch.from_numpy(labels[part]).to(device)


@torch.no_grad()
def validate(
    model: nn.Module,
    found: Iterator[tuple[Tensor, Tensor]],
    device: torch.device,
    group: Group,
    head: Head = "softmax",
) -> dict:
    """Return mean cross-entropy and accuracy over the images of all processes, in evaluation mode.

    Without label smoothing and in float32, whatever the training's terms and precision are. ``found`` yields this
    process's images; the model is left in evaluation mode. With a sigmoid ``head``, it is the binary cross-entropy, the
    mean over the classes that count, and mean average precision.
    """
    model.eval()
    if head == "sigmoid":
        return _validate_sets(model, found, device, group)
    total = torch.zeros(3, dtype=torch.float64, device=device)
    for images, labels in found:
        logits = model(images).float()
        loss = F.cross_entropy(logits, labels, reduction="sum")
        total += torch.stack(
            [loss.double(), (logits.argmax(1) == labels).sum().double(), total.new_tensor(len(labels))]
        )
    loss, correct, n = group.sum(total).tolist()
    return {LOSS: loss / n, ACCURACY: correct / n}


def _validate_sets(
    model: nn.Module, found: Iterator[tuple[Tensor, Tensor]], device: torch.device, group: Group
) -> dict:
    pairs = [(model(images).float(), labels) for images, labels in found]
    logits, sets = (_gathered(torch.cat(parts).double(), group) for parts in zip(*pairs, strict=True))
    counts = sets >= 0
    losses = F.binary_cross_entropy_with_logits(logits, sets.clamp(min=0), reduction="none")
    precision = mean_of_all(logits.cpu().numpy(), sets.cpu().numpy())
    return {LOSS: losses[counts].mean().item(), PRECISION: precision}


def _gathered(rows: Tensor, group: Group) -> Tensor:
    """Return the rows of all processes, one process after the other, the same in all of them."""
    lengths = rows.new_zeros(group.size)
    lengths[group.rank] = len(rows)
    edges = torch.cat([lengths.new_zeros(1), group.sum(lengths).cumsum(0)]).long().tolist()
    whole = rows.new_zeros(edges[-1], *rows.shape[1:])
    whole[edges[group.rank] : edges[group.rank + 1]] = rows
    return group.sum(whole)


def selected(history: Sequence[Mapping], select: str) -> Mapping:
    """Return the record of the epoch whose weights are the result: the ``last``, or the ``best`` in validation loss.

    Of equal ones, the first.
    """
    return history[-1] if select == "last" else min(history, key=lambda record: record[LOSS])
