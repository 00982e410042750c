"""How long a method takes for an image, measured: as it is run in a study, beside one forward pass."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from camstudy.explain.batches import plain_float32
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import frozen
from camstudy.models.speed import device_name, timed


def time_method(
    explainer: Explainer, images: Tensor, labels: np.ndarray, *, batch_size: int, repeats: int, seconds: float
) -> Mapping[str, object]:
    """Return the seconds that an image takes in a batch, maps brought to the CPU included, preparing it excluded.

    Parameters
    ----------
    explainer : the method with its model, which is left as it was
    images : the batch, prepared ones (n, 3, s, s), the first of the dataset
    labels : integers (n,)
    batch_size : images per forward pass; halved as often as the device runs out of memory
    repeats, seconds : when runs stop, see `camstudy.models.speed.timed`

    Returns
    -------
    ``seconds_per_image``; ``forward_seconds_per_image``, of forward passes of the same images without gradients, in the
    same plain float32; ``ratio`` of the two; ``batch_size`` at the end; ``device``; ``repeats`` and ``warm_up`` of the
    method.
    """
    n = len(images)

    def run() -> None:
        nonlocal batch_size
        _, found = explainer.explain(images, labels, numbers=range(n), batch_size=batch_size)
        batch_size = found.batch_size

    def forward() -> None:
        for part in images.split(batch_size):
            explainer.model(part)

    found = timed(run, explainer.device, repeats=repeats, seconds=seconds)
    with frozen(explainer.model), torch.no_grad(), plain_float32(explainer.device):
        passes = timed(forward, explainer.device, repeats=repeats, seconds=seconds)
    return {
        "seconds_per_image": found.seconds / n,
        "forward_seconds_per_image": passes.seconds / n,
        "ratio": found.seconds / passes.seconds,
        "batch_size": min(batch_size, n),
        "device": device_name(explainer.device),
        "repeats": found.repeats,
        "warm_up": found.warm_up,
    }
