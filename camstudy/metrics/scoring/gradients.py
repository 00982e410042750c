"""Gradients at the image: the ordinary one of a network's loss beside that of guided backpropagation, without maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    from camstudy.metrics.scoring import Batch, Evidence, Work


@FAMILIES.register(
    "gradients",
    title="Gradients at the image",
    metrics="gradients",
    needs=("model",),
    gives=("input_gradient", "guided_gradient"),
    settings=("of",),
    method="input_gradient",
    # Forward, and back twice.
    passes=lambda protocol: 5,
)
def gradients(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds both gradients, (n, 3, size, size), of a network whose activations are ReLU and ReLU6."""
    import torch

    from camstudy.explain.batches import in_batches, plain_float32
    from camstudy.explain.layers import frozen
    from camstudy.metrics.scoring import Evidence
    from camstudy.models.build import input_config
    from camstudy.models.guided import input_gradients
    from camstudy.models.inputs import prepare
    from camstudy.models.load import load_model, placed, weights_of

    inputs, device, of = input_config(work.model), work.device, work.settings["of"]
    model = placed(load_model(work.model, weights_of(work.records["model"])), device)

    def find(batch: Batch) -> Evidence:
        images = prepare(work.dataset.images(batch.images), inputs, device)
        labels = torch.from_numpy(batch.labels).to(device)
        with frozen(model), plain_float32(device):
            found, work.batch_size = in_batches(
                lambda part, _: input_gradients(model, images[part], labels[part], of, "protocols (gradients)"),
                len(images),
                work.batch_size,
                device,
            )
        plain, guided = (torch.cat(values).cpu().numpy() for values in zip(*found, strict=True))
        return Evidence({"input_gradient": plain, "guided_gradient": guided})

    return find
