"""Whether the logits of a network can be differentiated by the image, as gradients, masks and the probe need."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.layers import TargetLayer, frozen, is_passed


def check_reach(model: nn.Module, image: Tensor) -> None:
    """Raise `CamstudyError` if the logits of an image, (1, 3, h, w), have no gradient by it; the model stays as it is.

    They have none if any part that all paths lead through runs without gradients or detaches what it returns.
    """
    try:
        with frozen(model), torch.enable_grad():
            # No leaf, so that the network may change it.
            logits = model(image.detach().clone().requires_grad_().clone())
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise CamstudyError(
            f"arch: the logits of {type(model).__name__} cannot be differentiated by the image "
            f"({str(error).splitlines()[0]}); take what leaves torch, such as `.numpy()`, out of its forward pass"
        ) from error
    if isinstance(logits, Tensor) and not logits.requires_grad:
        raise CamstudyError(
            f"arch: the logits of {type(model).__name__} cannot be differentiated by the image, because a part of its "
            "forward pass runs under `torch.no_grad` or `torch.inference_mode`, or detaches what it returns; take that "
            "out (`requires_grad_(False)` and `train: {trainable: [...]}` keep parts as they are)"
        )


@contextmanager
def recomputation_told(model: nn.Module, image: Tensor) -> Iterator[None]:
    """Say of a layer that cannot be explained that the network's recomputation is why, where it may be.

    A part that gradients recompute runs without any at first, or twice: a layer in it is not what is differentiated.
    """
    try:
        yield
    except CamstudyError as error:
        if "CheckpointError" not in str(error) and not _recomputes(model, image):
            raise
        raise CamstudyError(
            f"arch: {type(model).__name__} recomputes a part of its forward pass for gradients (gradient "
            "checkpointing), and layers in it cannot be explained; build it without "
            "(`torch.utils.checkpoint`, `set_grad_checkpointing(False)`, `gradient_checkpointing_disable()`), which "
            "changes no result, or name a layer outside of that part as `target_layer`"
        ) from error


def _recomputes(model: nn.Module, image: Tensor) -> bool:
    """Whether the logits' graph has a part that runs again for gradients and is one step until then."""
    with frozen(model), torch.enable_grad():
        logits = model(image.detach().clone().requires_grad_().clone())
    steps, seen = [logits.grad_fn if isinstance(logits, Tensor) else None], set()
    while steps:
        step = steps.pop()
        if step is None or step in seen:
            continue
        if step.name() == "CheckpointFunctionBackward":
            return True
        seen.add(step)
        steps += [before for before, _ in step.next_functions]
    return False


def bypass(model: nn.Module, layer: TargetLayer, image: Tensor) -> str:
    """Return a warning where the image comes to the logits by other ways than a layer of feature maps, else nothing.

    Of tokens, whose last norms lie within residual blocks, this is always so and not told.
    """
    if is_passed(model, image, layer.path):
        return ""
    return (
        f"The default layer of {type(model).__name__}, `{layer.path}`, does not have all that the logits know of the "
        "image: a branch or sum beside it is left out of its maps. If that is not what you want, name a module that "
        "all pass through as `target_layer`, or this one, to hear of it no more."
    )
