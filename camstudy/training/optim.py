"""Optimiser, schedule and parameter groups, DCLS positions in a group of their own."""

from collections.abc import Mapping
from fnmatch import fnmatch

import torch
from timm.scheduler import CosineLRScheduler, MultiStepLRScheduler, StepLRScheduler
from timm.scheduler.scheduler import Scheduler
from torch import nn

from camstudy.models.variants.dcls import position_parameters


def parameter_groups(
    model: nn.Module, weight_decay: float, position_factor: float, *, decay_all: bool = False
) -> list[dict]:
    """Split the trainable parameters: decayed, not decayed, and DCLS positions.

    Not decayed are vectors, biases among them, and what the model's own ``no_weight_decay()`` names, as timm's models
    have it: names of parameters, or patterns of names; with ``decay_all``, these decay as well. Positions have no
    weight decay and ``position_factor`` times the scheduled learning rate (Khalfaoui-Hassani et al. 2023, arXiv
    2112.03740: 5); timm's schedulers read the factor from ``lr_scale``.
    """
    positions = position_parameters(model)
    taken = {id(parameter) for parameter in positions}
    kept = list(model.no_weight_decay()) if hasattr(model, "no_weight_decay") else []
    decayed, not_decayed = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in taken:
            is_kept = not decay_all and (parameter.ndim <= 1 or any(fnmatch(name, pattern) for pattern in kept))
            (not_decayed if is_kept else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": not_decayed, "weight_decay": 0.0},
        {
            "params": [each for each in positions if each.requires_grad],
            "weight_decay": 0.0,
            "lr_scale": position_factor,
        },
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(model: nn.Module, recipe: Mapping) -> torch.optim.Optimizer:
    """Return AdamW or SGD, with Nesterov momentum or the usual one, as the recipe says."""
    factor = recipe["positions"]["learning_rate_factor"]
    groups = parameter_groups(model, recipe["weight_decay"], factor, decay_all=recipe["decay_all"])
    if recipe["optimizer"] == "sgd":
        momentum = recipe["momentum"]
        nesterov = recipe["nesterov"] and momentum > 0
        return torch.optim.SGD(groups, lr=recipe["learning_rate"], momentum=momentum, nesterov=nesterov)
    return torch.optim.AdamW(groups, lr=recipe["learning_rate"])


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Mapping, steps_per_epoch: int) -> Scheduler:
    """Return a schedule with linear warm-up, to be advanced after every step of the optimizer with ``step_update``.

    A cosine, whose warm-up ends before the last step at the latest; or, where the recipe has ``drops``, the learning
    rate times ``factor`` after every ``epochs``, or after each of them.
    """
    steps = recipe["epochs"] * steps_per_epoch
    shared = {
        "warmup_t": min(round(recipe["warmup_epochs"] * steps_per_epoch), steps - 1),
        "warmup_lr_init": recipe["min_learning_rate"],
        "warmup_prefix": False,
        "t_in_epochs": False,
    }
    if recipe["drops"] is not None:
        epochs, factor = recipe["drops"]["epochs"], recipe["drops"]["factor"]
        if isinstance(epochs, int):
            return StepLRScheduler(optimizer, decay_t=epochs * steps_per_epoch, decay_rate=factor, **shared)
        # timm has a drop one update before it is due.
        after = [epoch * steps_per_epoch + 1 for epoch in sorted(epochs)]
        return MultiStepLRScheduler(optimizer, decay_t=after, decay_rate=factor, **shared)
    return CosineLRScheduler(optimizer, t_initial=steps, lr_min=recipe["min_learning_rate"], **shared)
