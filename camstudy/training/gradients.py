"""Passes beside those that a step is made of, for gradients of images: they leave the network and the numbers drawn."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from camstudy.models.guided import objectives, switchable
from camstudy.training.terms import Batch

Passing = Callable[[Tensor, tuple[str, str] | None], Tensor]


@contextmanager
def beside(network: nn.Module, batch_norm: str) -> Iterator[Passing]:
    """Yield a function that returns the logits of images; it may be called in this block only.

    Batch norms go by the images (``batch``), but update no statistics, or by the statistics so far (``frozen``). What
    is random in the network, and noise, is drawn from numbers of its own: those that follow the block are as without.
    The function's second argument, if any, asks for switchable ReLUs: see `camstudy.training.terms.Demands`.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.training]
    norms = [norm for norm in norms if batch_norm == "frozen" and norm.track_running_stats]
    devices = sorted({each.device.index for each in network.parameters() if each.device.type == "cuda"})

    def passing(images: Tensor, rule: tuple[str, str] | None = None) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        with switchable(network, *rule) if rule else nullcontext():
            return functional_call(network, buffers, images)

    with torch.random.fork_rng(devices):
        torch.manual_seed(int(torch.randint(2**62, ())))
        for norm in norms:
            # Not what is within: norms of timm contain activations and dropout.
            norm.training = False
        try:
            yield passing
        finally:
            for norm in norms:
                norm.training = True


def smooth(
    passing: Passing, batch: Batch, *, of: str, label_smoothing: float, samples: int, noise: float, create_graph: bool
) -> Tensor:
    """Return the mean gradient over noisy copies of each image (SmoothGrad, arXiv 1706.03825), (n, 3, h, w).

    The noise is Gaussian, its standard deviation ``noise`` times the difference of an image's largest and smallest
    value.
    """
    images = batch.images.detach()
    deviation = noise * (images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True))
    total = torch.zeros_like(images)
    for _ in range(samples):
        noisy = (images + deviation * torch.randn_like(images)).requires_grad_()
        objective = objectives(passing(noisy, None), batch.labels, of, label_smoothing).sum()
        total = total + torch.autograd.grad(objective, noisy, create_graph=create_graph)[0]
    return total / samples
