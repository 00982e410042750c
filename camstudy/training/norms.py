"""Batch norms that see the whole batch of several processes: torch's own, and one that can be differentiated twice."""

from collections.abc import Mapping, Sequence

import torch
from timm.layers import convert_sync_batchnorm
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camstudy.training.distributed import Group


def synchronise_norms(model: nn.Module, group: Group, device: torch.device) -> nn.Module:
    """Let batch norms see the whole batch of a group of processes; return the model, parameters and state as they were.

    torch can do so on GPUs only. On the CPU, where several processes are for tests, each sees its own part: there,
    models with batch norm are trained a little differently than by one process.
    """
    # Not torch's own conversion, which drops the activations in timm's norms.
    return convert_sync_batchnorm(model) if group.size > 1 and device.type == "cuda" else model


class SynchronisedNorms(TorchFunctionMode):
    """Lets the batch norms of passes in its block see the images of all processes, each of which has as many.

    torch's synchronised norm has no second derivative; this one is made of operations that have, on GPUs and the CPU,
    and costs more memory. Statistics are updated as torch's norm does.
    """

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self, function: object, types: object, args: Sequence = (), kwargs: Mapping | None = None
    ) -> object:
        if function is F.batch_norm:
            return self._norm(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        if not training:
            return F.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        axes, shape = [0, *range(2, input.ndim)], [1, -1, *[1] * (input.ndim - 2)]
        mean = all_reduce(input.mean(axes)) / self.group.size
        centered = input - mean.view(shape)
        variance = all_reduce(centered.square().mean(axes)) / self.group.size
        if running_mean is not None:
            n = input.numel() // input.shape[1] * self.group.size
            with torch.no_grad():
                running_mean.lerp_(mean, momentum)
                running_var.lerp_(variance * (n / (n - 1)), momentum)
        result = centered * (variance + eps).rsqrt().view(shape)
        if weight is not None:
            result = result * weight.view(shape) + bias.view(shape)
        return result
