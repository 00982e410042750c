"""What a network costs per image, by counting: multiply-adds, with DCLS kernels as dense ones or as their taps."""

from dataclasses import dataclass

import torch
from DCLS.construct.modules import Dcls2d
from torch import Tensor, nn


@dataclass(frozen=True)
class MultiplyAdds:
    """Multiply-adds per image: ``dense`` with every kernel dense, ``taps`` with DCLS kernels as their elements only.

    Without DCLS layers the two are equal. ``dense`` is what runs, folded or not; ``taps`` is what would be left if
    zeros were skipped and positions were whole pixels.
    """

    dense: int
    taps: int


def multiply_adds(model: nn.Module, size: int) -> MultiplyAdds:
    """Return the multiply-adds of one image of ``size`` x ``size`` pixels, DCLS layers unfolded.

    Convention: one multiplication and its addition count once (some papers' FLOPs are these, others' twice these), in
    convolutions and linear layers only. Biases, norms, activations, the products of attention and the construction
    of DCLS kernels are left out; but modules of variants that state their own ``multiply_adds(*inputs)`` of an image
    count with these, as the attention of CA-Stream does. Layers are counted as they run, each time. ``model`` is in
    evaluation mode and is left as it was.
    """
    dense = taps = 0

    def count(layer: nn.Module, _inputs: object, output: Tensor) -> None:
        nonlocal dense, taps
        if isinstance(layer, nn.Linear):
            each = other = layer.in_features
        else:
            channels = layer.in_channels // layer.groups
            kernel = layer.dilated_kernel_size if isinstance(layer, Dcls2d) else layer.kernel_size
            each = channels * torch.Size(kernel).numel()
            other = channels * layer.kernel_count if isinstance(layer, Dcls2d) else each
        dense += output.numel() * each
        taps += output.numel() * other

    def count_stated(layer: nn.Module, inputs: tuple, _output: object) -> None:
        nonlocal dense, taps
        stated = layer.multiply_adds(*inputs)
        dense += stated
        taps += stated

    counted = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, Dcls2d)
    modules = list(model.modules())
    handles = [layer.register_forward_hook(count) for layer in modules if isinstance(layer, counted)]
    handles += [layer.register_forward_hook(count_stated) for layer in modules if hasattr(layer, "multiply_adds")]
    try:
        with torch.no_grad():
            model(next(model.parameters()).new_zeros(1, 3, size, size))
    finally:
        for handle in handles:
            handle.remove()
    return MultiplyAdds(dense, taps)
