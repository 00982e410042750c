"""Class activation maps: pure functions of a layer's activations A and of the target logit's gradients there.

Both are tensors (n, C, h, w); results are raw maps (n, h, w), neither normalised nor resized. Only methods of
tensors are used, so that listing the explanation methods does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.explain.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor


@METHODS.register("gradcam", needs="activations_gradients", source="Selvaraju et al. 2017, arXiv 1610.02391, eq. 1-2")
def gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ReLU(mean_k alpha_k A_k), values >= 0, alpha_k the spatial mean of channel k's gradient.

    The paper sums over channels; the mean differs by a constant factor, which no rank or normalised map sees.
    """
    return (_channel_weights(gradients) * activations).mean(1).relu()


@METHODS.register(
    "threshold_gradcam",
    needs="activations_gradients",
    source="Chamas et al. 2024, arXiv 2408.03164, and its code",
)
def threshold_gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return mean_k ReLU(alpha_k A_k), values >= 0: Grad-CAM with the ReLU on every channel, before the mean.

    The method's min-max and floor follow when the map is read: the postprocess ``{floor: 0.3}``.
    """
    return (_channel_weights(gradients) * activations).relu().mean(1)


def _channel_weights(gradients: Tensor) -> Tensor:
    return gradients.mean((2, 3), keepdim=True)
