"""The target layer: which module's output is explained, by default the tensor that enters global pooling."""

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
import torchvision
from timm.models import VGG, ConvNeXt, FastVit, MetaFormer, ResNet
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError, unknown
from camstudy.explain.stages import missing_stage
from camstudy.explain.tokens import prefix_tokens, refuse_windows, says_something, token_path

LAYOUTS = ("nchw", "nhwc", "tokens")
MOST_TRIED = 32  # layers of feature maps, from the last


@dataclass(frozen=True)
class TargetLayer:
    """A module of a model, its dotted path, and the layout of its output.

    ``layout`` None: read it off the output's shape, in which height equals width (images are square). ``tokens`` is
    (n, tokens, C), class and register tokens first, then those of the positions, row by row.
    """

    path: str
    module: nn.Module
    layout: Literal["nchw", "nhwc", "tokens"] | None = None


def resolve_target_layer(
    model: nn.Module, override: str | Mapping[str, str] | None = None, *, stage: int | None = None, size: int = 224
) -> TargetLayer:
    """Return the layer of ``model`` to explain.

    Without an override: ResNet `layer4`; ConvNeXt and MetaFormer the last of `stages`; FastViT `final_conv`;
    VGG the activation before the last max pooling; vision transformers the first norm of the last block, see
    `camstudy.explain.tokens.token_path`. In any other model, it is the last module to finish whose output has more
    than one position, found in one forward pass of a blank image: of those that run once and return square feature
    maps, or tokens of whose positions the logits depend on at least one. Of feature maps within a block that ends with
    a single position, those are taken that entered it; gates and what is beside the way to the logits are passed over.

    Parameters
    ----------
    model : a classifier of images (n, 3, size, size)
    override : a dotted module path, or ``{path: ..., layout: nchw | nhwc | tokens}``
    stage : the output of this stage instead, whatever the override: 1 is the first after the stem, -1 the last.
        Stages are `layer1`, `layer2`, ... of a ResNet, `stages` of ConvNeXt, MetaFormer and FastViT, and of
        torchvision's MobileNet-V2 the last block of each resolution; FastViT's last one comes before `final_conv`
    size : side of the model's input in pixels, used for the blank image only

    Raises `CamstudyError` for a path that the model does not have (with the nearest ones), an unknown key or
    layout, a stage that it does not have, a model that has no default layer, and tokens in the order of windows.
    """
    if stage is not None:
        return _stage(model, stage)
    modules = dict(model.named_modules())
    if override is None:
        path, layout = _family_path(model) or token_path(model) or _last_spatial_output(model, size), None
    else:
        path, layout = _parse(override)
    if not path or path not in modules:
        children = [name for name, _ in model.named_children()]
        names = ", ".join(f"`{name}`" for name in difflib.get_close_matches(str(path), modules, n=3) or children)
        raise CamstudyError(f"target_layer: {type(model).__name__} has no module `{path}`; near or top-level: {names}")
    refuse_windows(model, path)
    if isinstance(modules[path], torch.jit.ScriptModule):
        raise CamstudyError(
            f"target_layer `{path}`: is a program of TorchScript, or in one, which cannot be looked at; name another "
            "layer, or build that part from its class in Python"
        )
    return TargetLayer(path, modules[path], layout)


def check_output(output: object, layer: TargetLayer, n: int) -> Literal["nchw", "nhwc", "tokens"]:
    """Return the layout of a target layer's output for ``n`` square images.

    Of a 4-D output, the axis of the channels is told by the two equal spatial axes, which hold for any number of
    channels; one with three axes is made of tokens. Raises `CamstudyError` if the output is neither a 4-D tensor of n
    square feature maps nor n sequences of tokens, those of a square after at most 16 others, if it contradicts
    ``layer.layout``, or if several layouts fit and none is stated.
    """
    if not isinstance(output, Tensor) or output.ndim not in (3, 4) or len(output) != n:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise CamstudyError(
            f"target_layer `{layer.path}`: its output must be 4-D, or tokens (n, tokens, C), one per image (n = {n}), "
            f"but is {found}; name another layer"
        )
    if output.ndim == 3:
        fitting = [] if prefix_tokens(output.shape[1]) is None else ["tokens"]
    else:
        _, a, b, c = output.shape
        fitting = [layout for layout, square in (("nchw", b == c), ("nhwc", a == b)) if square]
    if layer.layout is None and len(fitting) == 1:
        return fitting[0]
    if layer.layout in fitting:
        return layer.layout
    raise CamstudyError(
        f"target_layer `{layer.path}`: layout {layer.layout or 'not stated'}, but the output's shape "
        f"{tuple(output.shape)} fits {' and '.join(fitting) or 'none'}; state it as "
        f"{{path: {layer.path}, layout: ...}} with {' or '.join(LAYOUTS)}, or name another layer"
    )


def to_nchw(tensor: Tensor, layout: str) -> Tensor:
    """Return a layer's output as (n, C, h, w), a view.

    Among t tokens, those of the positions are the last s x s, with s x s the largest square up to t: the few class
    and register tokens come first.
    """
    if layout == "tokens":
        side = math.isqrt(tensor.shape[1])
        return tensor[:, -side * side :].unflatten(1, (side, side)).permute(0, 3, 1, 2)
    return tensor.permute(0, 3, 1, 2) if layout == "nhwc" else tensor


def channel_axis(layout: str) -> int:
    """Return the axis of the channels in a layer's output."""
    return {"nchw": 1, "nhwc": 3, "tokens": 2}[layout]


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put the model in evaluation mode with constant parameters; restore every flag at the end.

    What `torch.compile` has made of it runs as it was written meanwhile: compiled code heeds no new hooks. Raises
    `CamstudyError` for programs of `torch.export`, which have one mode alone.
    """
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        try:
            model.eval().requires_grad_(False)
        except NotImplementedError as error:
            raise CamstudyError(
                f"arch: {type(model).__name__} cannot be put into evaluation mode ({error}); give the network itself, "
                "not what `torch.export` has made of it"
            ) from error
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


def _family_path(model: nn.Module) -> str | None:
    if isinstance(model, ResNet):
        return "layer4"
    if isinstance(model, ConvNeXt | MetaFormer):
        return f"stages.{len(model.stages) - 1}"
    if isinstance(model, FastVit):
        return "final_conv"
    if isinstance(model, VGG | torchvision.models.VGG):
        pools = [i for i, module in enumerate(model.features) if isinstance(module, nn.MaxPool2d)]
        return f"features.{pools[-1] - 1}"
    return None


def stage_paths(model: nn.Module) -> list[str]:
    """Return the paths of a network's stages, from the first after the stem on; none where they are not known."""
    if isinstance(model, ResNet | torchvision.models.ResNet):
        return [f"layer{number}" for number in range(1, 5)]
    if isinstance(model, ConvNeXt | MetaFormer | FastVit):
        return [f"stages.{index}" for index in range(len(model.stages))]
    if isinstance(model, torchvision.models.MobileNetV2):
        # The last block of each resolution.
        return [f"features.{index}" for index in (1, 3, 6, 13, 18)]
    return []


def _stage(model: nn.Module, stage: int) -> TargetLayer:
    paths = stage_paths(model)
    if missing := missing_stage(type(model).__name__, len(paths), stage):
        raise CamstudyError(f"stage: {missing}")
    path = paths[stage - 1 if stage > 0 else stage]
    return TargetLayer(path, model.get_submodule(path), "nchw")


def _last_spatial_output(model: nn.Module, size: int) -> str:
    """Return the path of the last module to finish, and to run once, whose output has positions to explain."""
    finished: list[tuple[str, tuple[int, ...]]] = []
    ran: set[str] = set()

    def note(path: str, _module: nn.Module, output: object) -> None:
        ran.add(path)
        # The batch of one is a 1 in the shape; a single position adds a 1 for each spatial axis.
        shape = tuple(output.shape) if isinstance(output, Tensor) else ()
        # Parametrizations compute weights, not features.
        if len(shape) > 2 and shape.count(1) < len(shape) - 1 and ".parametrizations." not in f".{path}":
            finished.append((path, shape))

    image = next(model.parameters()).new_zeros(1, 3, size, size)
    with frozen(model), torch.no_grad(), _watched(model, note):
        model(image)
    runs = Counter(path for path, _ in finished)
    once = [(path, shape) for path, shape in finished if runs[path] == 1 and _has_form(shape)]
    heard: list[str] | None = None
    for path, shape in reversed(once):
        if len(shape) == 4:
            maps = [(each, min(shape[1], shape[3])) for each, shape in reversed(once) if len(shape) == 4]
            return _last_maps(model, image, maps, any(path.startswith(f"{outer}.") for outer in ran))
        heard = _heard(model, image, [path for path, shape in once if len(shape) == 3]) if heard is None else heard
        # Where class tokens alone are read, what follows the last attention says nothing, and what comes within it is
        # queries and keys: the last norm before.
        norm = "norm" in type(model.get_submodule(path)).__name__.lower()
        if path in heard and (norm or path == once[-1][0]):
            return path
    path, shape = finished[-1] if finished else ("", ())
    raise CamstudyError(
        f"target_layer: {type(model).__name__} has no default; its last output with positions, of module "
        f"`{path}`, has shape {shape}, not that of square feature maps or tokens; name a module whose output has them"
    )


def _last_maps(model: nn.Module, image: Tensor, maps: Sequence[tuple[str, int]], within: bool) -> str:
    """Return the path of the layer to explain among feature maps, given from the last with their channels.

    ``within`` says that the last came about in another module, whose own output is no map: it may be one of its
    branches. Raises `CamstudyError` for branches that have no layer in common.
    """
    last = maps[0][0]
    passed = next((path for path, _ in maps[:MOST_TRIED] if is_passed(model, image, path)), None)
    if passed is not None and (within or passed == last):
        return passed
    if passed is None and not is_passed(model, image, maps[-1][0]):
        raise CamstudyError(
            f"target_layer: {type(model).__name__} has no default; its last feature maps, of `{last}`, are of one of "
            "several branches by which the image comes to the logits; name a module that all pass through, or "
            f"`target_layer: {last}` for this branch alone"
        )
    # Where no module returns a sum of branches, the last of them is as good as any, but for gates and what is aside.
    heard = (path for path, channels in maps[:MOST_TRIED] if channels > 1 and is_passed(model, image, path, some=True))
    return next(heard, last)


def is_passed(model: nn.Module, image: Tensor, path: str, some: bool = False) -> bool:
    """Return whether all that the logits know of the image comes through a module's output, or with ``some`` a part."""

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output.detach().requires_grad_(some).clone()

    handle = model.get_submodule(path).register_forward_hook(cut, prepend=True)
    try:
        with frozen(model), torch.enable_grad():
            logits = model(image.detach().clone().requires_grad_(not some))
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError:  # What leaves torch, such as `.numpy()`, takes nothing that records gradients.
        return True
    finally:
        handle.remove()
    return some is (isinstance(logits, Tensor) and logits.requires_grad)


def _has_form(shape: tuple[int, ...]) -> bool:
    """Return whether an output for one image may be feature maps or tokens."""
    if shape[0] != 1 or len(shape) not in (3, 4):
        return False
    if len(shape) == 3:
        return prefix_tokens(shape[1]) is not None
    return shape[2] == shape[3] or shape[1] == shape[2]


def _heard(model: nn.Module, image: Tensor, paths: list[str]) -> list[str]:
    """Return which modules' outputs have positions that the logits depend on."""
    outputs: dict[str, Tensor] = {}

    def note(path: str, module: nn.Module, output: object) -> Tensor | None:
        if isinstance(module, nn.Linear) and not module.weight.any():
            # A classifier that starts at zero hears nothing yet; the plain sum of a norm's output is constant.
            seen = module_inputs[module]
            return output + (seen * torch.linspace(-1, 2, seen.shape[-1]).to(seen).sin()).sum(-1, keepdim=True)
        if path in paths:
            outputs[path] = output
        return None

    module_inputs: dict[nn.Module, Tensor] = {}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_pre_hook(lambda m, x: module_inputs.update({m: x[0]})) for module in linear]
    try:
        with frozen(model), torch.enable_grad(), _watched(model, note):
            logits = model(image.requires_grad_())
            total = (logits * torch.linspace(1, 2, logits.shape[-1]).to(logits)).sum()
            gradients = torch.autograd.grad(total, [*outputs.values()], allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
    pairs = zip(outputs.items(), gradients, strict=True)
    return [path for (path, output), found in pairs if found is not None and says_something(output, found)]


@contextmanager
def _watched(model: nn.Module, note: Callable[[str, nn.Module, object], Tensor | None]) -> Iterator[None]:
    """Tell ``note`` of each module that finishes its path and output."""

    def hook(path: str) -> Callable:
        return lambda module, _inputs, output: note(path, module, output)

    # Nothing can be heard of what is within a program of TorchScript, nor of itself.
    programs = torch.jit.ScriptModule
    seen = [(path, each) for path, each in model.named_modules() if path and not isinstance(each, programs)]
    handles = [module.register_forward_hook(hook(path)) for path, module in seen]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _parse(override: str | Mapping[str, str]) -> tuple[str | None, str | None]:
    if isinstance(override, str):
        return override, None
    for key in override:
        if key not in ("path", "layout"):
            raise unknown("key of target_layer", key, ["path", "layout"])
    layout = override.get("layout")
    if layout is not None and layout not in LAYOUTS:
        raise unknown("layout of target_layer", layout, LAYOUTS)
    return override.get("path"), layout
