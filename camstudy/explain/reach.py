"""Whether the logits of a network can be differentiated by the image, as gradients, masks and the probe need."""

import torch
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.layers import frozen


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
