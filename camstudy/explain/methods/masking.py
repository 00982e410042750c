"""Score-CAM and Ablation-CAM: channels weighted by what the model says when it sees, or loses, each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from camstudy.explain.parameters import one_of
from camstudy.explain.registry import METHODS

if TYPE_CHECKING:
    from torch import Tensor

    from camstudy.explain.context import Context

WEIGHTINGS = ("probability", "softmax_logit")
OUTSIDE = ("black", "mean")


@METHODS.register(
    "score_cam",
    needs="model",
    divided=True,
    source="Wang et al. 2020, arXiv 1910.01279",
    allowed={"weighting": one_of(WEIGHTINGS), "outside": one_of(OUTSIDE)},
)
def score_cam(
    context: Context, *, weighting: str = "probability", outside: str = "black", align_corners: bool = False
) -> Tensor:
    """Return ReLU(sum_k w_k A_k), values >= 0, w_k the score of class c for the image masked by channel k.

    The mask is A_k resized to the image and scaled to [0, 1]; the image is multiplied by it before normalisation.
    Channels that are constant give no mask and have no weight. One forward pass per channel, ``batch_size`` channels
    at a time.

    Parameters
    ----------
    weighting : ``probability``: w_k is the probability of c, as in the paper's text (the score after the softmax over
        classes) and its authors' code; of a sigmoid head it is the sigmoid, where CA-Stream's code has the softmax.
        ``softmax_logit``: w is the softmax over channels of the logits of c, as in pytorch-grad-cam; subtracting the
        score of a baseline cancels in it.
    outside : what a mask of 0 shows: a ``black`` pixel, or the ``mean`` colour of the normalisation, as do the authors
        and pytorch-grad-cam, who mask normalised images.
    align_corners : of the resizing; true in the released code of CA-Stream and in pytorch-grad-cam.
    """
    import torch

    from camstudy.explain.context import min_max, upsample

    activations = context.activations
    used = activations.amax((2, 3)) > activations.amin((2, 3))
    scores = torch.zeros_like(used, dtype=activations.dtype)
    for i, image in enumerate(context.images):
        for channels in used[i].nonzero()[:, 0].split(context.batch_size):
            masks = min_max(upsample(activations[i, channels], context.size, align_corners=align_corners))
            logits = context.model(context.masked(masks, image) if outside == "black" else masks * image)
            values = logits if weighting == "softmax_logit" else context.probabilities(logits)
            scores[i, channels] = values[:, context.target[i]]
    if weighting == "softmax_logit":
        scores = scores.masked_fill(~used, -torch.inf).softmax(1)
    return torch.einsum("nk,nkhw->nhw", scores.where(used, 0), activations).relu()


@METHODS.register("ablation_cam", needs="model", divided=True, source="Desai and Ramaswamy 2020, WACV")
def ablation_cam(context: Context) -> Tensor:
    """Return ReLU(sum_k w_k A_k), values >= 0, w_k = (y - y_k) / |y|, y_k the logit of c with channel k set to zero.

    |y| is at least 1e-6. The paper divides by y, which would turn every weight around where the logit is negative; the
    sign of y is no sign of the channel. Channels that are zero everywhere change nothing and have no weight. Per
    channel, what follows the target layer runs once: see `camstudy.explain.tail`. Of tokens, a channel is set to zero
    in all, class and register tokens included.
    """
    import torch

    from camstudy.explain.layers import channel_axis
    from camstudy.explain.tail import tail

    activations, axis = context.activations, channel_axis(context.layout)
    logit = context.chosen(context.logits)
    others = [other for other in range(1, context.output.ndim) if other != axis]
    used = (context.output != 0).any(tuple(others))
    scores = logit[:, None].expand(used.shape).clone()
    run = tail(context)
    for i in range(len(activations)):
        for channels in used[i].nonzero()[:, 0].split(context.batch_size):
            output = context.output[i].expand(len(channels), *context.output.shape[1:]).clone()
            output.movedim(axis, 1)[torch.arange(len(channels)), channels] = 0
            scores[i, channels] = run(i, output)[:, context.target[i]]
    weights = (logit[:, None] - scores) / logit.abs().clamp(min=1e-6)[:, None]
    return torch.einsum("nk,nkhw->nhw", weights, activations).relu()
