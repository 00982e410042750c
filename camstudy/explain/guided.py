"""Guided backpropagation's rule at every ReLU that runs, whether a module or a function calls it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camstudy.core.errors import CamstudyError

RELUS = {F.relu, F.relu_, F.relu6, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}
CLIPS = {F.hardtanh, F.hardtanh_}
OTHERS = {
    *(F.gelu, F.silu, F.mish, F.hardswish, F.elu, F.elu_, F.selu, F.selu_, F.celu, F.celu_, F.leaky_relu),
    *(F.leaky_relu_, F.prelu, F.rrelu, F.rrelu_, F.softplus, F.logsigmoid, F.softsign, F.tanhshrink, F.softshrink),
    *(F.hardshrink, F.threshold, F.threshold_, torch.celu_, torch.selu_, torch.prelu, torch.rrelu, torch.rrelu_),
}


@contextmanager
def guided(model: str) -> Iterator[None]:
    """Stop negative signals at the ReLUs of all passes in the block; ``model`` is the name to use in errors.

    Raises `CamstudyError` at another activation function, and at the end if there was no ReLU.
    """
    with _Guided(model) as mode:
        yield
    if not mode.found:
        raise CamstudyError(
            f"guided_backprop: {model} has no ReLU, where the method would differ from the plain gradient; take "
            "input_gradient"
        )


class _Guided(TorchFunctionMode):
    """Runs functions as they are and puts a hook on what a ReLU returns; the ReLU itself stops the rest."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model, self.found = model, False

    def __torch_function__(self, function, types, args=(), kwargs=None) -> object:
        kwargs = kwargs or {}
        if function in OTHERS or (function in CLIPS and _lower_bound(*args, **kwargs) != 0):
            raise CamstudyError(
                f"guided_backprop: {self.model} uses {function.__name__}, but the method is defined for ReLU and ReLU6 "
                "only; take input_gradient or smoothgrad for this model"
            )
        result = function(*args, **kwargs)
        if function in RELUS or function in CLIPS:
            self.found = True
            if result.requires_grad:
                result.register_hook(lambda signal: signal.clamp(min=0))
        return result


def _lower_bound(input: Tensor, min_val: float = -1.0, *_: object, **__: object) -> float:
    return min_val
