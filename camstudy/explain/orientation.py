"""Whether the positions of a layer are where they are taken to be: rows are rows, and the first is the upper one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camstudy.core.errors import CamstudyError
from camstudy.explain.layers import TargetLayer, check_output, frozen, to_nchw

# Where in the grid to look, in fractions of its side: upper right, lower left, and two places that windows would move.
PLACES = ((0.0, 1.0), (1.0, 0.0), (0.0, 0.5), (0.5, 0.25))
RECTIFIERS = (nn.ReLU, nn.ReLU6)
# In sides of the image: as far apart must be what opposite corners look at, which lie 1 apart,
APART = 0.03
# with less than this they look at the same, as far as random weights tell,
ALIKE = 0.1
# and as far from its own place may be the middle of the cell that a token looks at the most.
NEAR = 0.2
FEW = 3  # positions along a side: all may see the whole image, where convolutions are stacked on small ones


def check_orientation(model: nn.Module, layers: Sequence[TargetLayer], images: Tensor) -> None:
    """Raise `CamstudyError` for a layer whose positions do not look at the places of the image that they stand for.

    What a position looks at is the square of the gradient of its activations by the image. The upper right corner must
    look further up and further to the right than the lower left one, on average, which tells rows from columns. A
    token, which sees the whole image, must besides look the most at its own place, which tells rows from windows. Where
    random weights let all positions look at the same, an order that the layer's layout states is believed, and so is
    that of feature maps of `FEW` positions along a side.

    Parameters
    ----------
    model : network with any weights, left as it was
    layers : of which those with a single position, which have no orientation, are passed over
    images : at least two, float (n, 3, s, s) as the model expects them, of noise; the first is looked at
    """
    with frozen(model):
        mistakes = _mistakes(model, layers, images[:1])
        if mistakes:
            with _settled(model, images):
                again = _mistakes(model, layers, images[:1])
                mistakes = {path: text for path, text in again.items() if path in mistakes}
    if mistakes:
        raise CamstudyError(next(iter(mistakes.values())))


@contextmanager
def _settled(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Give batch norms the statistics of images for a while: without any, a signal dies out in an untrained network."""
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    before = [(norm.momentum, {name: value.clone() for name, value in norm.named_buffers()}) for norm in norms]
    try:
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        with torch.no_grad():
            if norms:
                model(images)
        for norm in norms:
            norm.eval()
        yield
    finally:
        for norm, (momentum, buffers) in zip(norms, before, strict=True):
            norm.momentum = momentum
            for name, value in buffers.items():
                getattr(norm, name).copy_(value)


def _mistakes(model: nn.Module, layers: Sequence[TargetLayer], image: Tensor) -> dict[str, str]:
    """Return what is wrong with layers, by path."""
    found = {}
    with torch.enable_grad():
        images = image.repeat(len(PLACES), 1, 1, 1).requires_grad_()
        for layer, output in zip(layers, _outputs(model, layers, images), strict=True):
            layout = check_output(output, layer, len(images))
            grids = to_nchw(output, layout)
            text = _mistake(layer, layout == "tokens", *_looks(grids, images)) if grids.shape[-1] > 1 else ""
            found |= {layer.path: text} if text else {}
    return found


def _outputs(model: nn.Module, layers: Sequence[TargetLayer], images: Tensor) -> list[Tensor]:
    """Return the layers' outputs, of rectifiers their inputs: random weights may leave nothing of a few channels."""
    outputs: dict[str, Tensor] = {}

    def keep(path: str) -> Callable[..., Tensor]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            outputs[path] = output
            # Later modules may work in place.
            return output.clone()

        return hook

    def keep_input(path: str) -> Callable[..., None]:
        return lambda _module, inputs: outputs.update({path: inputs[0].clone()})

    handles = [
        layer.module.register_forward_pre_hook(keep_input(layer.path))
        if isinstance(layer.module, RECTIFIERS)
        else layer.module.register_forward_hook(keep(layer.path), prepend=True)
        for layer in layers
    ]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return [outputs[layer.path] for layer in layers]


def _looks(grids: Tensor, images: Tensor) -> tuple[list[tuple[int, int]], Tensor]:
    """Return rows and columns of the places, and how much each looks at each cell of the image, (places, h, w)."""
    last = grids.shape[-1] - 1
    places = [(round(row * last), round(column * last)) for row, column in PLACES]
    signs = torch.randn(grids.shape[1], generator=torch.Generator().manual_seed(0)).to(grids)
    total = sum((grids[i, :, row, column] * signs).sum() for i, (row, column) in enumerate(places))
    (gradient,) = torch.autograd.grad(total, images, retain_graph=True)
    return places, F.adaptive_avg_pool2d(gradient.double().square().sum(1), grids.shape[-1])


def _mistake(layer: TargetLayer, tokens: bool, places: list[tuple[int, int]], looks: Tensor) -> str:
    side, sums = looks.shape[-1], looks.sum((1, 2))
    if not sums.all() or not sums.isfinite().all():
        return f"target_layer `{layer.path}`: not all of its positions depend on the image; name another layer"
    axis = (torch.arange(side, device=looks.device) + 0.5).to(looks) / side
    rows, columns = looks.sum(2) @ axis / sums, looks.sum(1) @ axis / sums
    apart = torch.stack([rows[1] - rows[0], columns[0] - columns[1]])
    believed = layer.layout or (side <= FEW and not tokens)
    if believed and apart.abs().amax() < ALIKE:
        return ""
    peaks = [divmod(int(index), side) for index in looks.flatten(1).argmax(1)]
    off = [max(abs(a - b) for a, b in zip(*pair, strict=True)) / side for pair in zip(places, peaks, strict=True)]
    if apart.amin() > APART and (not tokens or max(off) <= max(NEAR, 1 / side)):
        return ""
    if apart.abs().amax() < ALIKE:
        return (
            f"target_layer `{layer.path}`: with random weights, its positions look at the whole image alike, and "
            "whether they are in the order of its rows and columns cannot be told; if you know that they are, say so: "
            f"`target_layer: {{path: {layer.path}, layout: ...}}`"
        )
    found = ", ".join(f"{place} looks at {peak}" for place, peak in zip(places, peaks, strict=True))
    return (
        f"target_layer `{layer.path}`: its {side}x{side} positions are not in the order of the image's rows and "
        f"columns (row and column {found}), and its maps would be scrambled; state the right `layout`, or name another "
        "layer"
    )
