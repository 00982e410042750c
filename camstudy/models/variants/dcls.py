"""Dilated convolution with learnable spacings (DCLS): convert to it, look after positions, fold it.

Khalfaoui-Hassani, Pellegrini and Masquelier (2023), arXiv 2112.03740 (v0, v1); the same (2023), arXiv
2306.00817 (gauss). A DCLS layer holds ``kernel_count`` elements per kernel: ``weight`` (out, in / groups,
count), positions ``P`` (2, out, in / groups, count) in pixels from the kernel's centre and, for gauss, widths
``SIG`` of the same shape. Its dense kernel is the sum over elements of weight x interpolation around the
position.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import torch
from DCLS.construct import modules as dcls_package
from DCLS.construct.modules import ConstructKernel2d, Dcls2d
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError, unknown
from camstudy.models.copying import copied
from camstudy.models.seeding import seeded
from camstudy.models.variants import VARIANTS

# The package warns through the root logger, twice or more per layer, that it convolves with torch, which is
# what we ask for. A logger of its own keeps that quiet and leaves the root logger, its handlers and others'
# records alone.
dcls_package.logging = logging.getLogger("DCLS")
dcls_package.logging.setLevel(logging.ERROR)

# Where P and SIG keep (row, column): the package's v0 and its other versions disagree.
_AXES = {"v0": (0, 1), "v1": (1, 0), "gauss": (1, 0)}
VERSIONS = tuple(_AXES)
INITS = ("random", "preserve")

_GAUSS_MINIMUM = 0.27  # standard deviation of a gauss element in pixels = |SIG| + 0.27
# A v1 element that sits exactly on a pixel has no gradient in its position and would never move. This shift
# gives it one; a power of two, so that float32 holds the shifted positions and their interpolation without
# rounding.
_V1_SHIFT = 2.0**-16


def _is_depthwise(conv: nn.Conv2d) -> bool:
    return conv.groups == conv.in_channels == conv.out_channels and max(conv.kernel_size) > 1


REPLACE: dict[str, Callable[[nn.Conv2d], bool]] = {
    "depthwise": _is_depthwise,
    "depthwise_7x7": lambda conv: _is_depthwise(conv) and conv.kernel_size == (7, 7),
    "conv3x3": lambda conv: conv.groups == 1 and conv.kernel_size == (3, 3),
}


class SeparableKernel(nn.Module):
    """Build the dense kernel axis by axis: the package's function and gradients in less time and memory.

    It takes the place of the package's ``ConstructKernel2d`` and avoids two of its traps: there are no cached
    grids that a move to another device would leave behind, and half-precision layers work (the kernel is
    built in float32).
    """

    def __init__(self, size: int, version: str) -> None:
        super().__init__()
        self.size, self.version = size, version

    def forward(self, weight: Tensor, P: Tensor, SIG: Tensor | None) -> Tensor:
        """Return the kernel (out, in / groups, size, size) in the dtype of ``weight``."""
        # Autocast would run the product in half precision; the package's sum stays in float32.
        with torch.autocast(weight.device.type, enabled=False):
            rows, columns = _basis(P, SIG, self.size, self.version)
            return ((rows * weight[..., None]).mT @ columns).to(weight.dtype)


def _basis(P: Tensor, SIG: Tensor | None, size: int, version: str) -> tuple[Tensor, Tensor]:
    """Return what an element spreads over rows and over columns, (out, in / groups, count, size) each."""
    P = P.to(torch.promote_types(P.dtype, torch.float32))
    grid = torch.arange(size, device=P.device, dtype=P.dtype)
    spread = []
    for axis in _AXES[version]:
        position = (P[axis] + size // 2)[..., None]
        if version == "v0":
            # Written with floor, because its one-sided gradient is alive where a position is an integer.
            low = position.floor()
            fraction = position - low
            spread.append(torch.where(grid == low, 1 - fraction, 0) + torch.where(grid == low + 1, fraction, 0))
        elif version == "v1":
            spread.append((1 - (grid - position).abs()).relu())
        else:
            width = (SIG[axis].to(P.dtype).abs() + _GAUSS_MINIMUM)[..., None]
            spread.append((-0.5 * ((grid - position) / width).square()).exp())
    rows, columns = spread
    if version != "v0":
        rows = rows / (rows.sum(-1, keepdim=True) * columns.sum(-1, keepdim=True) + 1e-7)
    return rows, columns


def fold(model: nn.Module) -> nn.Module:
    """Return a copy of the model for inference, every DCLS layer a plain ``nn.Conv2d`` with its dense kernel.

    Outputs are equal to 1e-6. Kernels are built in float32: fold before ``.half()``, which would round
    positions.
    """
    model = copied(model)
    reset_caches(model)
    with torch.no_grad():
        return _replace_modules(model, {layer: _folded(layer) for layer in dcls_layers(model)})


@VARIANTS.register("dcls", fold=fold)
def convert(
    model: nn.Module,
    *,
    replace: str,
    kernel_size: int,
    kernel_count: int,
    version: str,
    init: str,
    seed: int = 0,
    width: float = 0.28,
) -> nn.Module:
    """Replace convolutions by DCLS layers, in place, and return the model.

    Parameters
    ----------
    model : a network; FastViT before it is re-parameterised, which fuses the layers that are to be replaced
    replace : which ``nn.Conv2d`` layers: ``depthwise`` (groups = in = out channels, more than one tap:
        ConvNeXt, MetaFormer), ``depthwise_7x7`` (of these the 7x7 ones: FastViT), ``conv3x3`` (3x3, groups 1,
        any stride: ResNet)
    kernel_size : side of the square in which elements move, in pixels; odd, at least the extent of what is
        replaced
    kernel_count : number of elements per kernel, 1 to kernel_size^2
    version : ``v0``, ``v1`` (bilinear) or ``gauss``
    init : ``random`` as in the released code: weight N(0, 0.02), bias 0, P ~ N(0, 0.5) clamped; or
        ``preserve``, which starts each layer from the convolution it replaces. With at least as many elements
        as taps the function is the same: to the bit for v0; up to rounding for v1 (up to 2e-5 of the weights
        if the convolution is dilated or one pixel wide); for gauss as near as ``width`` allows. Elements left
        over have weight 0 and random positions. With fewer elements than taps each kernel keeps the taps with
        the largest squared weights, summed over the layers that share positions, and weights are the
        least-squares fit (the old weights, for v0 and v1).
    seed : of the random numbers; torch's own generators are left as they were
    width : standard deviation in pixels of a preserved gauss element, above 0.27, where its gradient dies

    Positions (and widths) are one tensor per stage: walking the modules in order, a stage begins where
    ``in_channels`` exceeds the largest so far (released code). Layers of a stage that differ in weight shape
    or dilation cannot share and have a tensor per kind, as in ResNets of basic blocks.

    Raises
    ------
    CamstudyError
        for options outside these ranges, for a model without such a convolution, and for a convolution whose
        padding does not keep the image size or whose taps do not fit in ``kernel_size``.
    """
    _check_options(replace, kernel_size, kernel_count, version, init, width)
    convs = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and REPLACE[replace](module)
    }
    if not convs:
        raise CamstudyError(f"dcls.replace: `{replace}` matches no layer; the model has {_inventory(model)}")
    for name, conv in convs.items():
        _check_layer(name, conv, kernel_size)

    replacements: dict[nn.Module, nn.Module] = {}
    with seeded(seed), torch.no_grad():
        for group in _sharing_groups(convs.values()):
            layers = [_new_layer(conv, kernel_size, kernel_count, version) for conv in group]
            for layer in layers[1:]:
                layer.P, layer.SIG = layers[0].P, layers[0].SIG
            if init == "preserve":
                _preserve(group, layers, width)
            replacements.update(zip(group, layers, strict=True))
    return _replace_modules(model, replacements)


def dcls_layers(model: nn.Module) -> Iterator[Dcls2d]:
    """Yield the DCLS layers in the order of the modules."""
    return (module for module in model.modules() if isinstance(module, Dcls2d))


def position_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the distinct tensors P and, for gauss, SIG, each (2, out, in / groups, count), as a list."""
    found = (parameter for layer in dcls_layers(model) for parameter in (layer.P, layer.SIG))
    return list({id(parameter): parameter for parameter in found if parameter is not None}.values())


def clamp_positions(model: nn.Module) -> None:
    """Move positions outside the kernel to its border, +-(size // 2) pixels, in place, after every step.

    Those that do not learn are left alone.
    """
    for layer in _layers_by_position(model):
        if layer.P.requires_grad:
            layer.clamp_parameters()


def repulsive_loss(model: nn.Module) -> Tensor:
    """Return the loss that keeps elements of a kernel a pixel apart: a scalar >= 0, 0 without DCLS layers.

    The square of the mean over distinct position tensors of the mean over kernels and pairs of elements i < j
    of max(0, 1 - |p_i - p_j|), with the Euclidean distance in pixels (released code of arXiv 2112.03740).
    """
    overlaps = [_mean_overlap(layer.P) for layer in _layers_by_position(model)]
    return torch.stack(overlaps).mean().square() if overlaps else torch.zeros(())


def reset_caches(model: nn.Module) -> None:
    """Drop the grids that the package's own layers cache when first run, and leave behind on moving."""
    for layer in dcls_layers(model):
        if isinstance(layer.DCK, ConstructKernel2d):
            layer.DCK.IDX = layer.DCK.lim = None


def _layers_by_position(model: nn.Module) -> Iterable[Dcls2d]:
    """Return one layer for each distinct position tensor."""
    return {id(layer.P): layer for layer in dcls_layers(model)}.values()


def _mean_overlap(P: Tensor) -> Tensor:
    first, second = torch.triu_indices(P.shape[-1], P.shape[-1], 1, device=P.device)
    if not len(first):
        return P.new_zeros(())
    distance = torch.linalg.vector_norm(P[..., first] - P[..., second], dim=0)
    return (1 - distance).relu().mean()


def _new_layer(conv: nn.Conv2d, size: int, count: int, version: str) -> Dcls2d:
    """Return a randomly initialised DCLS layer in the place, device and dtype of a convolution."""
    layer = Dcls2d(
        conv.in_channels,
        conv.out_channels,
        count,
        stride=conv.stride,
        padding=size // 2,
        dilated_kernel_size=size,
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
        version=version,
        use_implicit_gemm=False,
    )
    layer.DCK = SeparableKernel(size, version)
    nn.init.normal_(layer.weight, 0, 0.02)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer.to(conv.weight.device, conv.weight.dtype).train(conv.training)


def _sharing_groups(convs: Iterable[nn.Conv2d]) -> list[list[nn.Conv2d]]:
    stage, widest = 0, 0
    groups: dict[tuple, list[nn.Conv2d]] = {}
    for conv in convs:
        if conv.in_channels > widest:
            stage, widest = stage + 1, conv.in_channels
        groups.setdefault((stage, conv.weight.shape, conv.dilation), []).append(conv)
    return list(groups.values())


def _preserve(convs: list[nn.Conv2d], layers: list[Dcls2d], width: float) -> None:
    """Give layers that share positions the kernels of the convolutions they replace, as near as they can."""
    first, version = layers[0], layers[0].version
    size = first.dilated_kernel_size[0]
    taps = torch.cartesian_prod(*map(_tap_offsets, convs[0].kernel_size, convs[0].dilation))
    taps = taps.to(first.P.device).reshape(-1, 2)
    wanted = [conv.weight.double().flatten(2) for conv in convs]

    energy = torch.stack([weight.square() for weight in wanted]).sum(0)
    strongest = energy.argsort(dim=-1, descending=True, stable=True)[..., : first.kernel_count]
    kept = strongest.sort(-1).values  # (out, in / groups, n), n = min(count, taps)
    n = kept.shape[-1]
    for axis, offset in zip(_AXES[version], taps.unbind(-1), strict=True):
        position = offset[kept].to(first.P.dtype)
        if version == "v1":
            # Towards the centre, so that what spills over falls on taps, whose weights make up for it.
            position = torch.where(position > 0, position - _V1_SHIFT, position + _V1_SHIFT)
        first.P[axis, ..., :n] = position
    if version == "gauss":
        first.SIG[..., :n] = width - _GAUSS_MINIMUM

    # Least squares by the normal equations; the basis is separable, so its Gram matrix is a product of two.
    widths = None if first.SIG is None else first.SIG[..., :n].double()
    rows, columns = _basis(first.P[..., :n].double(), widths, size, version)
    gram = (rows @ rows.mT) * (columns @ columns.mT)
    row, column = (taps + size // 2).unbind(-1)
    at_taps = rows[..., row] * columns[..., column]  # (out, in / groups, n, taps)
    for conv, layer, weight in zip(convs, layers, wanted, strict=True):
        layer.weight.zero_()
        layer.weight[..., :n] = torch.linalg.solve(gram, (at_taps @ weight[..., None]))[..., 0]
        if layer.bias is not None:
            layer.bias.copy_(conv.bias)


def _tap_offsets(kernel: int, dilation: int) -> Tensor:
    """Return where the taps of one axis are, in pixels from the centre."""
    return (torch.arange(kernel) * 2 - (kernel - 1)) * dilation // 2


def _folded(layer: Dcls2d) -> nn.Conv2d:
    parts = (layer.weight, layer.P, layer.SIG)
    kernel = layer.DCK(*(None if part is None else part.float() for part in parts))
    conv = nn.utils.skip_init(
        nn.Conv2d,
        layer.in_channels,
        layer.out_channels,
        layer.dilated_kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        groups=layer.groups,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )
    conv.weight.copy_(kernel)
    if layer.bias is not None:
        conv.bias.copy_(layer.bias)
    return conv.train(layer.training)


def _replace_modules(model: nn.Module, replacements: dict[nn.Module, nn.Module]) -> nn.Module:
    """Swap modules wherever they are registered; the model itself may be one of them."""
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            if child in replacements:
                setattr(parent, name, replacements[child])
    return replacements.get(model, model)


def _check_options(replace: str, kernel_size: object, kernel_count: int, version: str, init: str, width: float) -> None:
    if replace not in REPLACE:
        raise unknown("dcls.replace", replace, REPLACE)
    if version == "max":
        raise CamstudyError(
            "dcls.version: `max` is not offered: its widths start where their gradient is zero, so that it"
            " behaves as v1; use v1"
        )
    if version not in VERSIONS:
        raise unknown("dcls.version", version, VERSIONS)
    if init not in INITS:
        raise unknown("dcls.init", init, INITS)
    if type(kernel_size) is not int:
        raise CamstudyError(
            f"dcls.kernel_size: found {kernel_size!r}; kernels are square: give one odd number, as in 17"
        )
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise CamstudyError(
            f"dcls.kernel_size: found {kernel_size}; an odd size has a centre: use {max(kernel_size, 2) + 1}"
        )
    if type(kernel_count) is not int or not 1 <= kernel_count <= kernel_size**2:
        raise CamstudyError(
            f"dcls.kernel_count: found {kernel_count!r}; use 1 to {kernel_size**2}, the places in a"
            f" {kernel_size}x{kernel_size} kernel"
        )
    if version == "gauss" and width <= _GAUSS_MINIMUM:
        raise CamstudyError(f"dcls.width: found {width}; use more than {_GAUSS_MINIMUM} pixels, as in 0.28")


def _check_layer(name: str, conv: nn.Conv2d, size: int) -> None:
    extent = [(kernel - 1) * dilation + 1 for kernel, dilation in zip(conv.kernel_size, conv.dilation, strict=True)]
    if type(conv).forward is not nn.Conv2d.forward:
        raise CamstudyError(
            f"dcls.replace: layer `{name}` is a {type(conv).__name__}, which changes its weights or padding"
            " as it runs; DCLS can only stand in for a plain Conv2d: choose another rule or architecture"
        )
    if max(extent) > size:
        raise CamstudyError(
            f"dcls.kernel_size: {size} is smaller than layer `{name}`, which extends over"
            f" {extent[0]}x{extent[1]} pixels; use {max(extent) + 1 - max(extent) % 2} or more"
        )
    centred = tuple((e - 1) // 2 for e in extent)
    if any(e % 2 == 0 for e in extent) or conv.padding not in ("same", centred):
        raise CamstudyError(
            f"dcls.replace: layer `{name}` extends over {extent[0]}x{extent[1]} pixels and pads by"
            f" {conv.padding}; only an odd extent and padding by half of it keep the image in place"
        )


def _inventory(model: nn.Module) -> str:
    """Say which convolutions a model has, the frequent kinds first."""
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    kinds = Counter(
        f"{'x'.join(map(str, conv.kernel_size))} " + ("depthwise" if _is_depthwise(conv) else f"groups {conv.groups}")
        for conv in convs
    )
    found = ", ".join(f"{count} of {kind}" for kind, count in kinds.most_common(8))
    return f"these convolutions: {found}" if found else "no convolution"
