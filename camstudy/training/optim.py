"""Optimiser, schedule and parameter groups, DCLS positions in a group of their own."""

from collections.abc import Mapping
from fnmatch import fnmatch

import torch
from timm.scheduler import CosineLRScheduler
from torch import nn

from camstudy.models.variants.dcls import position_parameters


def parameter_groups(model: nn.Module, weight_decay: float, position_factor: float) -> list[dict]:
    """Split the trainable parameters: decayed, not decayed, and DCLS positions.

    Not decayed are vectors, biases among them, and what the model's own ``no_weight_decay()`` names, as timm's models
    have it: names of parameters, or patterns of names. Positions have no weight decay and ``position_factor`` times the
    scheduled learning rate (Khalfaoui-Hassani et al. 2023, arXiv 2112.03740: 5); timm's schedulers read the factor from
    ``lr_scale``.
    """
    positions = position_parameters(model)
    taken = {id(parameter) for parameter in positions}
    kept = list(model.no_weight_decay()) if hasattr(model, "no_weight_decay") else []
    decayed, not_decayed = [], []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in taken:
            is_kept = parameter.ndim <= 1 or any(fnmatch(name, pattern) for pattern in kept)
            (not_decayed if is_kept else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": not_decayed, "weight_decay": 0.0},
        {"params": positions, "weight_decay": 0.0, "lr_scale": position_factor},
    ]
    return [group for group in groups if group["params"]]


def make_optimizer(model: nn.Module, recipe: Mapping) -> torch.optim.Optimizer:
    """Return AdamW or SGD with Nesterov momentum as the recipe says."""
    groups = parameter_groups(model, recipe["weight_decay"], recipe["positions"]["learning_rate_factor"])
    if recipe["optimizer"] == "sgd":
        momentum = recipe["momentum"]
        return torch.optim.SGD(groups, lr=recipe["learning_rate"], momentum=momentum, nesterov=momentum > 0)
    return torch.optim.AdamW(groups, lr=recipe["learning_rate"])


def make_schedule(optimizer: torch.optim.Optimizer, recipe: Mapping, steps_per_epoch: int) -> CosineLRScheduler:
    """Return a cosine schedule with linear warm-up, to be advanced after every step with ``step_update``.

    The warm-up ends before the last step at the latest.
    """
    steps = recipe["epochs"] * steps_per_epoch
    return CosineLRScheduler(
        optimizer,
        t_initial=steps,
        lr_min=recipe["min_learning_rate"],
        warmup_t=min(round(recipe["warmup_epochs"] * steps_per_epoch), steps - 1),
        warmup_lr_init=recipe["min_learning_rate"],
        t_in_epochs=False,
    )
