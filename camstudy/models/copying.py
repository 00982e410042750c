"""Copies of networks, those too whose modules hold tensors that were computed, as weight normalization leaves them."""

import copy

from torch import Tensor, nn


def copied(model: nn.Module) -> nn.Module:
    """Return a deep copy of a network.

    Attributes that are computed from parameters, such as the ``weight`` of `torch.nn.utils.weight_norm`, which torch
    refuses to copy, are constant in the copy until its next pass computes them anew.
    """
    computed = [
        (module, name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, Tensor) and not value.is_leaf
    ]
    try:
        for module, name, value in computed:
            vars(module)[name] = value.detach()
        return copy.deepcopy(model)
    finally:
        for module, name, value in computed:
            vars(module)[name] = value
