"""Class activation maps: pure functions of a layer's activations A and of the target logit's gradients there.

Both are tensors (n, C, h, w); results are raw maps (n, h, w), neither normalised nor resized. Where nothing speaks for
the class, a map is zero everywhere. Listing the explanation methods does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.explain.parameters import at_least
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


@METHODS.register(
    "gradcam_plusplus",
    needs="activations_gradients",
    source="Chattopadhyay et al. 2018, arXiv 1710.11063, eq. 19",
    allowed={"eps": at_least(0)},
)
def gradcam_plusplus(activations: Tensor, gradients: Tensor, *, eps: float = 0.0) -> Tensor:
    """Return ReLU(sum_k w_k A_k), values >= 0, w_k = sum_ij a_ij ReLU(g_ij), a = g² / (2 g² + g³ max(0, sum A) + eps).

    The sum is over the positions of a channel. Here is a departure from the paper, which takes the sum as it is: where
    it can be negative, as after a linear bottleneck or GELU, the paper's denominator passes 0, and weights explode and
    change sign; such a sum counts as 0. a is taken where g > 0 alone, as other positions have no weight. ``eps`` is 0
    in the paper and outweighs g² where gradients are small; pytorch-grad-cam adds 1e-6.
    """
    g = gradients.relu()
    # Both sides are divided by g², which float32 cannot hold for gradients of 1e-20.
    ratio = 2 + activations.sum((2, 3), keepdim=True).clamp(min=0) * g + (eps / g.square() if eps else 0)
    weights = (g / ratio).where(g > 0, 0).sum((2, 3), keepdim=True)
    return (weights * activations).sum(1).relu()


@METHODS.register("xgrad_cam", needs="activations_gradients", source="Fu et al. 2020, arXiv 2008.02312")
def xgrad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ReLU(sum_k w_k A_k), values >= 0, w_k = sum_ij g_ij A_ij / (sum_ij A_ij + 1e-7).

    Equal to Grad-CAM, up to a factor, where g is constant in every channel: on the last layer before global pooling and
    a linear classifier.
    """
    weights = (gradients * activations).sum((2, 3), keepdim=True) / (activations.sum((2, 3), keepdim=True) + 1e-7)
    return (weights * activations).sum(1).relu()


@METHODS.register("layer_cam", needs="activations_gradients", source="Jiang et al. 2021, IEEE TIP 30, eq. 8-9")
def layer_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ReLU(sum_k ReLU(g_k) A_k), values >= 0; gradients are not pooled, which suits any layer."""
    return (gradients.relu() * activations).sum(1).relu()


@METHODS.register("hires_cam", needs="activations_gradients", source="Draelos and Carin 2020, arXiv 2011.08891")
def hires_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ReLU(sum_k g_k A_k), values >= 0. The ReLU, as in Grad-CAM, keeps what speaks for the class."""
    return (gradients * activations).sum(1).relu()


@METHODS.register("eigen_cam", needs="activations_gradients", source="Muhammad and Yeasin 2020, arXiv 2008.00299")
def eigen_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ReLU(p), values >= 0, p the positions' projection on the first principal component of the activations.

    Of the matrix (h w, C), each channel less its mean over positions as in pytorch-grad-cam. No class is asked about.
    The sign, which a component does not have, is that of `first_component`.
    """
    return first_component(activations).relu()


@METHODS.register(
    "eigen_gradcam", needs="activations_gradients", source="pytorch-grad-cam, EigenGradCAM; its sign is arbitrary"
)
def eigen_gradcam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Return ReLU(p), values >= 0, p the positions' projection on the first principal component of the g_k A_k.

    As `eigen_cam`, the sign included, of the products of gradients and activations instead of the activations.
    """
    return first_component(gradients * activations).relu()


def first_component(features: Tensor) -> Tensor:
    """Return the projections (n, h, w) of positions on the first principal component of features (n, C, h, w).

    Each channel is taken less its mean over positions. A component has no sign; here the largest value is at least the
    size of the smallest one (Chung and Ying 2025, Applied Sciences 15, 7562, eq. 13): what stands out most is positive.
    Where both are as large as each other, rounding decides.
    """
    import torch

    n, channels, h, w = features.shape
    flat = features.flatten(2).double()
    flat = flat - flat.mean(2, keepdim=True)
    # Of the two matrices of products, whose largest eigenvalue is the same, the smaller one.
    if h * w <= channels:
        values, vectors = torch.linalg.eigh(flat.mT @ flat)
        projection = vectors[..., -1] * values[:, -1:].clamp(min=0).sqrt()
    else:
        projection = (torch.linalg.eigh(flat @ flat.mT)[1][..., -1:].mT @ flat)[:, 0]
    turned = projection.amax(1, keepdim=True) < -projection.amin(1, keepdim=True)
    return torch.where(turned, -projection, projection).reshape(n, h, w).to(features.dtype)


def _channel_weights(gradients: Tensor) -> Tensor:
    return gradients.mean((2, 3), keepdim=True)
