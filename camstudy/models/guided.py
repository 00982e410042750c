"""Guided backpropagation (arXiv 1412.6806): a rule at every ReLU of a pass, switched on and off at backward time.

One pass of images so serves the ordinary gradient and the guided one, each of which can be differentiated again:

    with switchable(model) as passed:
        objective = objectives(model(images), labels).sum()
    plain = torch.autograd.grad(objective, images, create_graph=True)
    with guided():
        target = torch.autograd.grad(objective, images, retain_graph=True)
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camstudy.core.errors import CamstudyError

# What returns another tensor, and what changes its argument.
RELUS = {F.relu: False, torch.relu: False, Tensor.relu: False, torch.relu_: True, Tensor.relu_: True}
CLIPS = {F.relu6: False, F.hardtanh: False, F.hardtanh_: True}
OTHERS = {
    *(F.gelu, F.silu, F.mish, F.hardswish, F.elu, F.elu_, F.selu, F.selu_, F.celu, F.celu_, F.leaky_relu),
    *(F.leaky_relu_, F.prelu, F.rrelu, F.rrelu_, F.softplus, F.logsigmoid, F.softsign, F.tanhshrink, F.softshrink),
    *(F.hardshrink, F.threshold, F.threshold_, torch.celu_, torch.selu_, torch.prelu, torch.rrelu, torch.rrelu_),
}
EPSILON = 1e-8  # the least norm by which a cosine divides


@contextmanager
def guided() -> Iterator[None]:
    """Stop negative signals at the ReLUs of `switchable` passes, in all backward passes within the block.

    At a ReLU of input z a signal s becomes s 1[z > 0] 1[s > 0], at a ReLU6 s 1[0 < z < 6] 1[s > 0]. The rule holds in
    the whole process: no other thread may differentiate meanwhile.
    """
    before, _Gate.guided = _Gate.guided, True
    try:
        yield
    finally:
        _Gate.guided = before


@contextmanager
def switchable(
    model: nn.Module, key: str = "gradients", advice: str = "take a network of ReLUs"
) -> Iterator["SwitchableReLUs"]:
    """Let every ReLU and ReLU6 of the passes in the block heed `guided` when they are differentiated.

    Whether a module, a function or a method calls them, and in place or not. Values and derivatives, the second ones
    too, are those of torch's functions; what is yielded tells afterwards whether there was any (``found``).

    Raises `CamstudyError` at another activation (GELU, SiLU, Hardswish ...), for which the rule is not defined: ``key``
    is what the message begins with, ``advice`` how it ends.
    """
    with SwitchableReLUs(type(model).__name__, key, advice) as passed:
        yield passed


class SwitchableReLUs(TorchFunctionMode):
    """Runs functions as they are, but for activations."""

    def __init__(self, model: str, key: str, advice: str) -> None:
        super().__init__()
        self.model, self.key, self.advice, self.found = model, key, advice, False

    def __torch_function__(
        self, function: object, types: object, args: Sequence = (), kwargs: Mapping | None = None
    ) -> object:
        kwargs = kwargs or {}
        if function in RELUS:
            self.found = True
            return _relu(*args, changes=RELUS[function], **kwargs)
        if function in CLIPS:
            if function is F.relu6:
                kwargs = {"min_val": 0.0, "max_val": 6.0, **kwargs}
            low, high = _bounds(*args, **kwargs)
            if low == 0 and high > 0:
                self.found = True
                return _clip(*args, changes=CLIPS[function], **kwargs)
        if function in OTHERS or function in CLIPS:
            raise CamstudyError(
                f"{self.key}: {self.model} uses {function.__name__}, but guided backpropagation is for ReLU and ReLU6 "
                f"only; {self.advice}"
            )
        return function(*args, **kwargs)


def _bounds(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> tuple[float, float]:
    return min_val, max_val


def _clip(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False, *, changes: bool
) -> Tensor:
    return _Gate.apply(input, max_val, changes or inplace)


def _relu(input: Tensor, inplace: bool = False, *, changes: bool) -> Tensor:
    return _Gate.apply(input, None, changes or inplace)


class _Gate(torch.autograd.Function):
    """min(max(z, 0), high), whose signals go by the rule that holds when they come back."""

    guided = False

    @staticmethod
    def forward(ctx: object, z: Tensor, high: float | None, changes: bool) -> Tensor:
        if changes:
            ctx.mark_dirty(z)
            result = z.relu_() if high is None else F.hardtanh_(z, 0.0, high)
        else:
            result = z.relu() if high is None else F.hardtanh(z, 0.0, high)
        # 0 < z < high is 0 < result < high: the next layer keeps the result anyway.
        ctx.save_for_backward(result)
        ctx.high = high
        return result

    @staticmethod
    def backward(ctx: object, signal: Tensor) -> tuple[Tensor, None, None]:
        # The step has no slope: detached, no zeros are sent back through the network.
        result = ctx.saved_tensors[0].detach()
        if ctx.high is None:
            signal = torch.ops.aten.threshold_backward(signal, result, 0)
        else:
            signal = torch.ops.aten.hardtanh_backward(signal, result, 0.0, ctx.high)
        return (signal.relu() if _Gate.guided else signal), None, None


def objectives(
    logits: Tensor, labels: Tensor, of: Literal["loss", "logit"] = "loss", label_smoothing: float = 0.0
) -> Tensor:
    """Return what is differentiated, (n,): each image's cross-entropy, or the logit of its label; at least float32."""
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if of == "logit":
        return logits.gather(1, labels[:, None])[:, 0]
    return F.cross_entropy(logits, labels, reduction="none", label_smoothing=label_smoothing)


def input_gradients(
    model: nn.Module, images: Tensor, labels: Tensor, of: Literal["loss", "logit"] = "loss", key: str = "gradients"
) -> tuple[Tensor, Tensor]:
    """Return the gradient of each image's `objectives` with respect to it, and the guided one, from one pass.

    Parameters
    ----------
    model : in evaluation mode, so that images do not influence each other; its parameters may be constant
    images : (n, 3, h, w), as the model expects them
    labels : int64 (n,)
    of : see `objectives`
    key : what messages begin with

    Returns
    -------
    ``(plain, guided)``, both (n, 3, h, w) and constant; equal for a network without ReLUs.

    Raises
    ------
    CamstudyError
        for a network with another activation than ReLU and ReLU6.
    """
    with torch.enable_grad():
        images = images.detach().requires_grad_()
        with switchable(model, key):
            total = objectives(model(images), labels, of).sum()
        (plain,) = torch.autograd.grad(total, images, retain_graph=True)
        with guided():
            return plain, torch.autograd.grad(total, images)[0]


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return <a, b> / (max(|a|, 1e-8) max(|b|, 1e-8)) of each image's gradients (n, ...), in [-1, 1]; (n,).

    Edge case: with a gradient of zeros, as images have whose loss rounds to 0, it is 0.
    """
    first, second = first.flatten(1), second.flatten(1)
    norms = [values.norm(dim=1).clamp(min=EPSILON) for values in (first, second)]
    return (first * second).sum(1) / (norms[0] * norms[1])
