"""Optimiser, schedule and parameter groups, DCLS positions in a group of their own."""

from collections.abc import Mapping

import torch
from timm.scheduler import CosineLRScheduler
from torch import nn

from camstudy.models.dcls import position_parameters


def parameter_groups(model: nn.Module, weight_decay: float, position_factor: float) -> list[dict]:
    """Split the trainable parameters: decayed, not decayed (vectors, biases), and DCLS positions.

    Positions have no weight decay and ``position_factor`` times the scheduled learning rate (Khalfaoui-Hassani et al.
    2023, arXiv 2112.03740: 5); timm's schedulers read the factor from ``lr_scale``.
    """
    positions = position_parameters(model)
    taken = {id(parameter) for parameter in positions}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
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
    """Return a cosine schedule with linear warm-up, to be advanced after every step with ``step_update``."""
    return CosineLRScheduler(
        optimizer,
        t_initial=recipe["epochs"] * steps_per_epoch,
        lr_min=recipe["min_learning_rate"],
        warmup_t=round(recipe["warmup_epochs"] * steps_per_epoch),
        warmup_lr_init=recipe["min_learning_rate"],
        t_in_epochs=False,
    )
