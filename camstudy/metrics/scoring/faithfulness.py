"""Faithfulness to the model: its answers to images that maps mask, and the curves of insertion and deletion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    from camstudy.metrics.scoring import Batch, Evidence, Work

CURVES = ("insertion", "deletion")


def _passes(protocol: Mapping) -> int:
    """Return the passes that an image takes: as it is, masked and cut, at each step of two curves, and perturbed."""
    from camstudy.metrics.faithfulness import Protocol, asks_perturbation

    return 3 + Protocol.of(protocol).passes(224**2, perturbation=asks_perturbation(protocol["metrics"]))


@FAMILIES.register(
    "faithfulness",
    title="Faithfulness",
    metrics="faithfulness",
    needs=("maps", "model"),
    gives=(
        *("probability", "masked_probability", "map_box_share", "crop_log_probability"),
        *("insertion_curve", "deletion_curve", "positive_correct", "negative_correct", "tied_share"),
    ),
    settings=("step", "start", "target", "blur", "normalize", "ties", "removed"),
    beside=("curves",),
    divided=True,
    passes=_passes,
)
def faithfulness(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds the evidence of `camstudy.metrics.probing.probe`, with its curves beside the scores."""
    import numpy as np

    from camstudy.core.geometry import FULL, within
    from camstudy.explain.targets import OF_MODEL
    from camstudy.metrics.faithfulness import Protocol
    from camstudy.metrics.probing import chosen, probe
    from camstudy.metrics.scoring import Evidence
    from camstudy.models.build import input_config
    from camstudy.models.inputs import crop_boxes, prepare
    from camstudy.models.load import load_model, placed, weights_of
    from camstudy.models.probabilities import head_of

    dataset, inputs = work.dataset, input_config(work.model)
    model = placed(load_model(work.model, weights_of(work.records["model"])), work.device)
    # Maps of the model cover what it saw; those of a control may cover more, and are of no class.
    crops = crop_boxes(inputs, dataset.shapes)
    options = {"mean": inputs["mean"], "std": inputs["std"], "protocol": Protocol.of(work.settings)}
    options["head"] = head_of(work.model)
    asks_model = work.control and work.method["target"] in OF_MODEL
    options["perturbation"] = not work.wanted.isdisjoint({"positive_correct", "negative_correct"})

    def find(batch: Batch) -> Evidence:
        images = prepare(dataset.images(batch.images), inputs, work.device)
        view = [*map(within, crops[batch.images], batch.views)] if work.control else FULL
        targets = batch.targets
        if asks_model:
            targets = chosen(model, images, batch.labels, work.method["target"], work.batch_size)
        found, work.batch_size = probe(
            model, images, batch.maps, targets, batch.labels, batch_size=work.batch_size, view=view, **options
        )
        curves = {name: list(found[f"{name}_curve"].astype(np.float32)) for name in CURVES}
        seen = {"target": targets}
        return Evidence(found, seen, beside={"curves": seen | curves})

    return find
