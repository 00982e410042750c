"""Guidance of input gradients: the ordinary gradient is pulled towards the guided or a smoothed one (arXiv 2404.15024).

Formulas and what is done where the paper is silent: docs/definitions.md, "Interpretable gradients".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from camstudy.training.terms import TERMS, Batch, Demands, Measured

if TYPE_CHECKING:
    from torch import Tensor

SWITCHABLE = ("train.terms.gradient_guidance", "take a network of ReLUs, or `teacher: smoothgrad`")


def _settings(recipe: Mapping) -> Mapping | None:
    stated = recipe.get("terms", {}).get("gradient_guidance")
    # The loss that is differentiated is the one that is minimized.
    return None if stated is None else {**stated, "label_smoothing": recipe["label_smoothing"]}


def _demands(settings: Mapping) -> Demands:
    in_batch = settings["batch_norm"] == "batch"
    is_guided = settings["teacher"] == "guided"
    return Demands(in_batch, in_batch and settings["weight"] > 0, SWITCHABLE if is_guided else None)


@TERMS.register("gradient_guidance", settings=_settings, demands=_demands, heads=("softmax",))
def gradient_guidance(
    batch: Batch,
    *,
    weight: float,
    error: str,
    of: str,
    detach_guided: bool,
    batch_norm: str,
    teacher: str,
    samples: int,
    noise: float,
    label_smoothing: float,
) -> Measured:
    """Return ``weight`` times L_R, the mean over the images of the error between gradient d and target t.

    d is the gradient of each image's loss, or logit, with respect to the image, as the network takes it; t the same by
    guided backpropagation or by SmoothGrad, a constant unless ``detach_guided`` is false. With the weight 0, nothing
    but the figures comes of it: the mean ``cross_entropy`` (L_C), ``guidance_error`` (L_R), ``cosine`` of d and t and
    ``input_gradient_norm`` (|d|), and ``zero_gradients``, the share of images with a gradient, d or t, below 1e-8.
    """
    from contextlib import nullcontext

    import torch

    from camstudy.models.guided import EPSILON, cosine, guided, objectives
    from camstudy.training import gradients

    is_term = weight > 0
    follows = is_term and not detach_guided
    smoothed = {"of": of, "label_smoothing": label_smoothing, "samples": samples, "noise": noise}
    more = batch_norm == "frozen" or teacher == "smoothgrad"
    beside = gradients.beside(batch.network, batch_norm) if more else nullcontext()
    with torch.autocast(batch.images.device.type, enabled=False), beside as passing:
        images, logits = batch.images, batch.logits
        if batch_norm == "frozen":
            images = images.detach().requires_grad_()
            logits = passing(images, SWITCHABLE if teacher == "guided" else None)
        total = objectives(logits, batch.labels, of, label_smoothing).sum()
        (plain,) = torch.autograd.grad(total, images, create_graph=is_term, retain_graph=True)
        if teacher == "guided":
            with guided():
                (target,) = torch.autograd.grad(total, images, create_graph=follows, retain_graph=True)
        else:
            target = gradients.smooth(passing, batch, **smoothed, create_graph=follows)
        found = ERRORS[error](plain, target).mean()
    shown, norms = cosine(plain, target), [values.flatten(1).norm(dim=1) for values in (plain, target)]
    losses = objectives(batch.logits, batch.labels, "loss", label_smoothing)
    figures = {
        "cross_entropy": losses.mean(),
        "guidance_error": found,
        "cosine": shown.mean(),
        "input_gradient_norm": norms[0].mean(),
        "zero_gradients": ((norms[0] < EPSILON) | (norms[1] < EPSILON)).float().mean(),
    }
    value = weight * found if is_term else found.new_zeros(())
    return Measured(value, {name: figure.detach() for name, figure in figures.items()})


def _cosine(plain: Tensor, target: Tensor) -> Tensor:
    """Return 1 - <d, t> / (|d| |t|) of each image, in [0, 2]; 1 where one of them is zero."""
    from camstudy.models.guided import cosine

    return 1 - cosine(plain, target)


def _mae(plain: Tensor, target: Tensor) -> Tensor:
    """Return the mean of abs(d - t) over pixels and colors."""
    return (plain - target).flatten(1).abs().mean(1)


def _mse(plain: Tensor, target: Tensor) -> Tensor:
    """Return the mean of (d - t)^2 over pixels and colors."""
    return (plain - target).flatten(1).square().mean(1)


def _histogram(plain: Tensor, target: Tensor) -> Tensor:
    """Return 1 - sum min(abs d, abs t) / (norm1(d) norm1(t)): not bounded below, as gradients shrink."""
    import torch

    from camstudy.models.guided import EPSILON

    plain, target = plain.flatten(1).abs(), target.flatten(1).abs()
    norms = plain.sum(1).clamp(min=EPSILON) * target.sum(1).clamp(min=EPSILON)
    return 1 - torch.minimum(plain, target).sum(1) / norms


ERRORS = {"cosine": _cosine, "mae": _mae, "mse": _mse, "histogram": _histogram}
