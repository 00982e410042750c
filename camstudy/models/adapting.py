"""Networks that take or return something else than colors and logits: grey images, dicts, tuples, one logit, halves.

Hooks make them alike, so that no module is wrapped: paths of layers and names of weights stay what they are.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from camstudy.core.errors import CamstudyError

ABSENT = (LookupError, AttributeError, TypeError)
GREY = (0.299, 0.587, 0.114)  # of red, green and blue in ITU-R 601, as PIL makes grey


def adapt(
    model: nn.Module, *, output: str | int | None = None, binary: bool = False, channels: int | None = None
) -> list[RemovableHandle]:
    """Let a network take images (n, 3, h, w) and return logits (n, classes) in the type of its parameters, in place.

    Parameters
    ----------
    model : the network; a tensor that it returns is taken for its logits, whatever ``output`` says, as some return more
        in training alone; see `refuse_unused_output`
    output : where the logits are in what else it returns: the key or attribute, or the position in a tuple or list, or
        several of these with dots between
    binary : whether it returns one logit z, (n,) or (n, 1), for the second of two classes: -z/2 and z/2 are those of
        both, whose softmax is the sigmoid of z, and whose cross-entropy the binary one
    channels : 1 for a network of grey images, which sees those of all colors in grey

    Returns
    -------
    What takes the hooks away again. Calls of the network raise `CamstudyError` where the output is not there, or there
    is not one logit. So do programs of TorchScript, at once: nothing sees their layers.
    """
    if isinstance(model, torch.jit.ScriptModule):
        raise CamstudyError(
            f"arch: {type(model).__name__} is a program of TorchScript, whose layers cannot be looked at; build the "
            "network from its class in Python, and give its weights (`torch.jit.load(path).state_dict()`)"
        )
    handles = [model.register_forward_hook(_Logits(output, binary))]
    if channels == 1:
        handles.append(model.register_forward_pre_hook(_grey))
    return handles


def adapt_entry(model: nn.Module, entry: Mapping) -> None:
    """Do as `adapt` does with what a catalogue entry says, in place."""
    channels = (entry.get("input") or {}).get("channels")
    adapt(model, output=entry.get("output"), binary=bool(entry.get("binary")), channels=channels)


@contextmanager
def adapted(
    model: nn.Module, *, output: str | int | None = None, binary: bool = False, channels: int | None = None
) -> Iterator[None]:
    """Do as `adapt` does for a while."""
    handles = adapt(model, output=output, binary=binary, channels=channels)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def described(output: object) -> str:
    """Return in words what a network returns, and where in it logits may be."""
    if isinstance(output, Tensor):
        return f"a tensor {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with {', '.join(f'`{key}`' for key in output)}"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}"
    return f"a {type(output).__name__}"


def needs_output(output: object) -> str:
    """Return what to do where a network returns something else than a tensor; nothing where it does not."""
    if isinstance(output, Tensor):
        return ""
    if output is None or isinstance(output, str | bytes | float | int | np.ndarray):
        return "let its forward pass return the logits, a tensor of torch"
    return "say where the logits are, as in `output: logits` or `output: 0`, and `output: logits.0` for what is within"


def refuse_unused_output(model: nn.Module) -> None:
    """Raise `CamstudyError` for an `output` that no pass of an adapted network has heeded, as all returned tensors.

    Some networks return a tensor in evaluation alone: ask after the passes in both modes that they are used in.
    """
    for hook in (hook for module in model.modules() for hook in module._forward_hooks.values()):
        if isinstance(hook, _Logits) and hook.output is not None and not hook.heeded:
            raise CamstudyError(
                f"output: found `{hook.output}`, but {type(model).__name__} returns a tensor, in which there is "
                "nothing to choose; take `output` away if these are the logits, or let the network return what it names"
            )


@dataclass
class _Logits:
    """A hook that makes logits of what a network returns; ``heeded``: whether ``output`` has played a part so far."""

    output: str | int | None
    binary: bool
    heeded: bool = False

    def __call__(self, model: nn.Module, _inputs: object, returned: object) -> object:
        logits = returned
        if self.output is not None and not isinstance(returned, Tensor):
            logits, self.heeded = _item(returned, self.output), True
        if not isinstance(logits, Tensor) or not logits.is_floating_point():
            return logits
        logits = logits.to(next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32))
        if not self.binary:
            return logits
        if logits.shape not in ((len(logits),), (len(logits), 1)):
            raise CamstudyError(
                f"binary: {type(model).__name__} returns {described(logits)}, expected one logit for each image, "
                "(n,) or (n, 1); set `binary: false`"
            )
        half = logits.reshape(-1, 1) / 2
        return torch.cat([-half, half], 1)


def _item(returned: object, output: str | int) -> object:
    try:
        return _within(returned, output)
    except ABSENT:
        steps = str(output).split(".")
    try:
        found = returned
        for step in steps:
            found = _within(found, int(step) if step.isdigit() else step)
        return found
    except ABSENT:
        raise CamstudyError(
            f"output: found `{output}`, but the network returns {described(returned)}; name where its logits are"
        ) from None


def _within(returned: object, key: str | int) -> object:
    return getattr(returned, key) if isinstance(key, str) and not isinstance(returned, Mapping) else returned[key]


def _grey(_model: nn.Module, inputs: tuple) -> tuple | None:
    images = inputs[0]
    if images.shape[1] != len(GREY):
        return None
    weights = torch.tensor(GREY, dtype=images.dtype, device=images.device).reshape(1, -1, 1, 1)
    return (images * weights).sum(1, keepdim=True), *inputs[1:]
