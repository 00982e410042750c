"""Images of the training set that are held out: loss and accuracy on them after every epoch, and the best epoch."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.data.dataset import Dataset
from camstudy.models.inputs import prepare
from camstudy.training.distributed import Group

LOSS, ACCURACY = "validation_loss", "validation_accuracy"


def held_out(n: int, share: float, seed: int) -> np.ndarray:
    """Return the positions of the images that are held out of ``n``, in order: the same in every epoch and process."""
    # Three numbers: the orders of the epochs are drawn from two.
    return np.sort(np.random.default_rng([seed, 0, 1]).permutation(n)[: round(share * n)])


def batches(
    store: Dataset, positions: Sequence[int], config: Mapping, size: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images, prepared as for evaluation, and labels, ``size`` at a time."""
    labels = store.labels
    for start in range(0, len(positions), size):
        part = positions[start : start + size]
        yield prepare(store.images(part), config, device), torch.from_numpy(labels[part]).to(device)


@torch.no_grad()
def validate(model: nn.Module, found: Iterator[tuple[Tensor, Tensor]], device: torch.device, group: Group) -> dict:
    """Return mean cross-entropy and accuracy over the images of all processes, in evaluation mode.

    Without label smoothing and in float32, whatever the training's terms and precision are. ``found`` yields this
    process's images; the model is left in evaluation mode.
    """
    model.eval()
    total = torch.zeros(3, dtype=torch.float64, device=device)
    for images, labels in found:
        logits = model(images).float()
        loss = F.cross_entropy(logits, labels, reduction="sum")
        total += torch.stack(
            [loss.double(), (logits.argmax(1) == labels).sum().double(), total.new_tensor(len(labels))]
        )
    loss, correct, n = group.sum(total).tolist()
    return {LOSS: loss / n, ACCURACY: correct / n}


def selected(history: Sequence[Mapping], select: str) -> Mapping:
    """Return the record of the epoch whose weights are the result: the ``last``, or the ``best`` in validation loss.

    Of equal ones, the first.
    """
    return history[-1] if select == "last" else min(history, key=lambda record: record[LOSS])
