"""Opti-CAM: channel weights optimised so that the image masked by the map is recognised best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.explain.parameters import above, at_least, one_of
from camstudy.explain.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

    from camstudy.explain.context import Context

OBJECTIVES = ("logit", "probability", "norm")
START = 0.5  # of every variable, as in the authors' code; their softmax is uniform


@METHODS.register(
    "opti_cam",
    needs="model",
    divided=True,
    source="Zhang et al. 2023, arXiv 2301.07002, and its code",
    allowed={"objective": one_of(OBJECTIVES), "iterations": at_least(1), "learning_rate": above(0)},
)
def opti_cam(
    context: Context,
    *,
    objective: str = "logit",
    iterations: int = 50,
    learning_rate: float = 0.1,
    early_stop: bool = True,
) -> Tensor:
    """Return S(u) = sum_k softmax(u)_k ReLU(A_k), values >= 0, with u (n, C) optimised by Adam for every image.

    The loss is that of `losses`; the model is constant. The softmax is over the channels that vary: the others cannot
    change the masked image, and rounding would decide how much of the weight they take from the map. Scale and offset
    of S mean nothing: the mask is S scaled to [0, 1]. The images of a batch are optimised together and do not
    influence each other: every ``iterations // 10`` steps, from the first on, an image stops whose loss is above that
    of its last check, and keeps the u that was checked. One forward and backward pass to the input per step.

    The paper writes S without the ReLU on A, which the released code has: the same where the layer ends in a ReLU
    (ResNet, VGG), another map where it does not (ConvNeXt, vision transformers).

    Two float32 machines do not agree to the digit: Adam's first steps are as large for a gradient that is all rounding
    as for any other, and a check may stop an image earlier. Leaving out constant channels does not remove that: with
    images of EfficientNet-Lite0 that differed by 1e-7, maps differed by 6 to 14 % of their range, with rank
    correlations of 0.98 and more.

    Parameters
    ----------
    objective : what is maximised, see `losses`: the ``logit`` as in the released code; the ``probability``, as the
        thesis of its first author says; or the ``norm``. The paper's tables do not say which made them.
    iterations, learning_rate : of Adam (betas 0.9, 0.999); 50 and 0.1 are the defaults of the authors' scripts
    early_stop : whether images stop before the last step
    """
    import torch

    activations = context.activations.relu()
    final = activations.new_full(activations.shape[:2], START)
    constant = activations.amax((2, 3)) == activations.amin((2, 3))
    final[constant & ~constant.all(1, keepdim=True)] = -torch.inf
    going = torch.arange(len(final), device=final.device)
    u, first, second = final.clone(), torch.zeros_like(final), torch.zeros_like(final)
    checked = final.new_full((len(final),), torch.inf)
    for step in range(iterations):
        with torch.enable_grad():
            u.requires_grad_()
            loss = losses(context, u, going, objective)
            gradient = torch.autograd.grad(loss.sum(), u)[0]
        u, loss = u.detach(), loss.detach()
        if early_stop and step % max(iterations // 10, 1) == 0:
            worse = loss > checked
            final[going[worse]] = u[worse]
            u, first, second, gradient, checked, going = (
                kept[~worse] for kept in (u, first, second, gradient, loss, going)
            )
            if not len(going):
                break
        first = torch.lerp(first, gradient, 0.1)
        second = torch.lerp(second, gradient.square(), 0.001)
        scale = (second / (1 - 0.999 ** (step + 1))).sqrt() + 1e-8
        u = u - learning_rate / (1 - 0.9 ** (step + 1)) * first / scale
    final[going] = u
    return _saliency(final, activations)


def losses(context: Context, u: Tensor, of: Tensor, objective: str = "logit") -> Tensor:
    """Return the loss (m,) of variables u (m, C) for the images ``of`` (m,), positions in the batch.

    The image is multiplied by S(u), resized to it and scaled to [0, 1], before normalisation. ``logit``: minus the
    logit of the explained class. ``probability``: minus its probability, the softmax over classes, or the sigmoid of a
    sigmoid head. ``norm``: how much that logit differs from the whole image's.
    """
    from camstudy.explain.context import min_max, upsample

    masks = min_max(upsample(_saliency(u, context.activations[of].relu()), context.size))
    chosen = context.target[of, None]
    logits = context.model(context.masked(masks, context.images[of]))
    if objective == "probability":
        return -context.probabilities(logits).gather(1, chosen)[:, 0]
    logit = logits.gather(1, chosen)[:, 0]
    return -logit if objective == "logit" else (context.logits[of].gather(1, chosen)[:, 0] - logit).abs()


def _saliency(u: Tensor, activations: Tensor) -> Tensor:
    import torch

    return torch.einsum("nk,nkhw->nhw", u.softmax(1), activations)
