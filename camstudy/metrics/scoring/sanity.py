"""Sanity: what becomes of a method's maps as the model is randomized from the top, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from camstudy.metrics.scoring import FAMILIES

if TYPE_CHECKING:
    from camstudy.metrics.run import Batch, Evidence, Work


@FAMILIES.register(
    "sanity",
    title="Sanity checks",
    metrics="sanity",
    needs=("model", "method"),
    gives=("step_correlation", "step_correlation_absolute"),
    settings=("n_images", "steps", "seed"),
    beside=("steps",),
    batch=None,
    sample="n_images",
    passes=lambda protocol: protocol["steps"] + 1,
)
def sanity(work: Work) -> Callable[[Batch], Evidence]:
    """Return what finds the correlations (n, steps) with the trained model's maps, which lie beside the scores, too."""
    import numpy as np

    from camstudy.explain.explainer import Explainer
    from camstudy.metrics.randomization import randomize_explained
    from camstudy.metrics.run import Evidence
    from camstudy.models.load import weights_of

    explainer = Explainer.load(work.model, work.method, weights_of(work.records["model"]), work.device)
    labels = explainer.labels(work.dataset)

    def find(batch: Batch) -> Evidence:
        found = randomize_explained(
            explainer,
            explainer.prepare(work.dataset.images(batch.images)),
            labels[batch.images],
            numbers=batch.images,
            max_steps=work.settings["steps"],
            seed=work.settings["seed"],
            batch_size=work.batch_size,
        )
        shape = found.evidence["step_correlation"].shape
        steps = {
            "step": np.broadcast_to(np.arange(1, shape[1] + 1), shape),
            "step_name": np.broadcast_to(found.steps, shape),
            **{name: found.evidence[f"step_{name}"] for name in ("correlation", "correlation_absolute", "degenerate")},
        }
        about = {"target": found.target, "degenerate": found.degenerate}
        return Evidence(found.evidence, about, beside={"steps": steps})

    return find
