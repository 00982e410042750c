"""Runs explanation methods in batches: one pass gives activations and gradients to all, then others ask the model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError, unknown
from camstudy.explain.batches import in_batches, plain_float32
from camstudy.explain.context import Context, black_pixel
from camstudy.explain.layers import TargetLayer, check_output, frozen, to_nchw
from camstudy.explain.passes import reason
from camstudy.explain.reach import check_reach
from camstudy.explain.registry import BoundMethod, separate
from camstudy.explain.targets import TARGETS, chosen_classes
from camstudy.models.adapting import described, needs_output
from camstudy.models.probabilities import Head


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns for n images: raw ``maps[name]``, float32 (n, h, w), and classes, int64 (n,).

    ``target`` is the class explained. ``batch_size`` is the one to continue with: smaller than asked for when
    the device ran out of memory. ``arrays[name]`` holds what the method's record declares beside the maps, by name.
    """

    maps: dict[str, np.ndarray]
    target: np.ndarray
    predicted: np.ndarray
    batch_size: int
    arrays: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Pass:
    """What the pass that all methods share has found; ``gradients`` (n, C, h, w) are None if no method needs them."""

    output: Tensor
    layout: str
    gradients: Tensor | None
    logits: Tensor
    target: Tensor


def explain(
    model: nn.Module,
    layer: TargetLayer,
    images: Tensor,
    labels: np.ndarray,
    methods: Mapping[str, Callable],
    *,
    target: str = "label",
    batch_size: int = 32,
    mean: Sequence[float] = (0, 0, 0),
    std: Sequence[float] = (1, 1, 1),
    numbers: Sequence[int] | None = None,
    head: Head = "softmax",
) -> Explanation:
    """Return the maps of several methods; those from activations and gradients share one forward pass per batch.

    A method alone whose own passes give the logits needs none beside. The model runs in float32 and evaluation mode on
    the device of its parameters. These are constant and the layer's output is the only leaf, so the trunk before the
    layer records no graph. The model is left as it was: parameters, gradients, modes and hooks. The result does not
    depend on the batch size.

    Parameters
    ----------
    model : classifier that returns logits (n, classes)
    layer : from `camstudy.explain.layers.resolve_target_layer`
    images : float tensor (n, 3, s, s), as the model expects them (resized and normalised), on any device
    labels : integers (n,)
    methods : by name, as `camstudy.explain.registry.bind` returns them; a plain function is one from activations and
        gradients (n, C, h, w) to maps (n, h, w)
    target : class whose logit is differentiated, one of `camstudy.explain.targets.TARGETS`
    batch_size : images per forward pass; halved as often as the device runs out of memory
    mean, std : of each channel, with which the images were normalised; methods that mask pixels need them
    numbers : the images' positions in the dataset, which seed random methods; by default from 0 on
    head : what the logits mean, for methods that work with probabilities

    Raises `CamstudyError` for an unknown target, a label that the model has no logit for, outputs of the
    layer or the model that cannot be explained, and memory that does not suffice for one image.
    """
    if target not in TARGETS:
        raise unknown("target", target, TARGETS)
    labels = np.asarray(labels, np.int64)
    if labels.shape != (len(images),):
        raise ValueError(f"{len(images)} images, but labels of shape {labels.shape}")
    numbers = range(len(images)) if numbers is None else numbers
    device = next(model.parameters()).device
    black = black_pixel(mean, std, images).to(device)
    asks = any(_asks(method) for method in methods.values())

    def work(part: slice, size: int) -> tuple[dict, dict, np.ndarray, np.ndarray]:
        return _explain_batch(
            model,
            layer,
            images[part].to(device),
            labels[part],
            methods,
            target,
            black=black,
            numbers=numbers[part],
            batch_size=size,
            head=head,
        )

    with frozen(model), torch.enable_grad(), plain_float32(device):
        batches, batch_size = in_batches(work, len(images), batch_size, device, asks=asks)
    maps, arrays, targets, predicted = zip(*batches, strict=True)
    return Explanation(
        {name: np.concatenate([part[name] for part in maps]) for name in methods},
        np.concatenate(targets),
        np.concatenate(predicted),
        batch_size,
        {
            name: {key: np.concatenate([part[name][key] for part in arrays]) for key in arrays[0][name]}
            for name in methods
        },
    )


def map_shape(model: nn.Module, layer: TargetLayer, size: int, method: BoundMethod | None = None) -> tuple[int, int]:
    """Return ``(h, w)`` of a method's maps for images of side ``size``.

    Without a method, or for one at the layer's resolution, of the layer's activations, found with one blank image; of a
    method with a resolution of its own, of its map of that image.
    """
    if method and (side := method.side(size)) is not None:
        return side, side
    blank, map_of = torch.zeros(1, 3, size, size), lambda activations, gradients: activations[:, 0]
    if method and method.method.resolution == "own":
        map_of = method
    return explain(model, layer, blank, np.zeros(1), {"map": map_of}).maps["map"].shape[1:]


def _asks(method: Callable) -> bool:
    return getattr(method, "needs", "activations_gradients") == "model"


def _answers(method: Callable) -> bool:
    return isinstance(method, BoundMethod) and method.method.answers


def _explain_batch(
    model: nn.Module,
    layer: TargetLayer,
    images: Tensor,
    labels: np.ndarray,
    methods: Mapping[str, Callable],
    target: str,
    *,
    black: Tensor,
    numbers: Sequence[int],
    batch_size: int,
    head: Head,
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]], np.ndarray, np.ndarray]:
    alone = len(methods) == 1 and all(_answers(method) for method in methods.values())
    if alone:
        nothing = images.new_empty(0)
        found = _Pass(nothing, "nchw", None, nothing, images.new_zeros(len(images), dtype=torch.int64))
    else:
        shared = not all(_asks(method) for method in methods.values())
        found = _shared_pass(model, layer, images, labels, target, gradients=shared)
    context = Context(
        model=model,
        layer=layer,
        images=images,
        black=black,
        output=found.output,
        layout=found.layout,
        logits=found.logits,
        target=found.target,
        numbers=numbers,
        batch_size=batch_size,
        head=head,
    )
    maps, arrays = {}, {}
    with torch.no_grad(), _heard(model) if alone else nullcontext() as answers:
        for name, method in methods.items():
            try:
                result = method(context) if _asks(method) else method(context.activations, found.gradients)
            except (RuntimeError, CamstudyError) as error:
                if not isinstance(error, torch.cuda.OutOfMemoryError):
                    check_reach(model, images[:1])
                raise
            maps[name], arrays[name] = separate(method, result)
    logits, chosen = found.logits, found.target
    if alone:
        kept = all(isinstance(answer, Tensor) for answer in answers)
        logits = _checked(model, torch.cat(answers) if kept else answers[0], len(images))
        chosen = chosen_classes(logits, labels, target)
    return maps, arrays, chosen.cpu().numpy(), logits.argmax(1).cpu().numpy()


@contextmanager
def _heard(model: nn.Module) -> Iterator[list[Tensor]]:
    """Yield the list that gets what the network returns."""
    answers: list[Tensor] = []
    handle = model.register_forward_hook(lambda _model, _inputs, output: answers.append(output))
    try:
        yield answers
    finally:
        handle.remove()


def _checked(model: nn.Module, logits: object, n: int) -> Tensor:
    """Return logits; raise `CamstudyError` unless they are (n, classes)."""
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
        advice = needs_output(logits) or "take another network, or with `binary: true` one of a single logit"
        raise CamstudyError(
            f"{type(model).__name__} returns {described(logits)}, needed are logits (n, classes) with n = {n}; {advice}"
        )
    return logits


def _shared_pass(
    model: nn.Module, layer: TargetLayer, images: Tensor, labels: np.ndarray, target: str, *, gradients: bool
) -> _Pass:
    with _cut(layer, len(images)) as outputs, torch.set_grad_enabled(gradients):
        logits = model(images.detach())
    if len(outputs) != 1:
        raise CamstudyError(
            f"target_layer `{layer.path}`: ran {len(outputs)} times in one forward pass instead of once; "
            "name another layer"
        )
    chosen = chosen_classes(_checked(model, logits, len(images)), labels, target)
    output, layout = outputs[0]
    if not gradients:
        return _Pass(output.detach(), layout, None, logits, chosen)
    # In evaluation mode images do not influence each other, so the gradient of the sum holds each one's own.
    total = logits.gather(1, chosen[:, None]).sum()
    try:
        found = torch.autograd.grad(total, output, allow_unused=True)[0] if total.requires_grad else None
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise CamstudyError(
            f"target_layer `{layer.path}`: the logits of {type(model).__name__} cannot be differentiated by it "
            f"({reason(error)}); if its forward pass changes tensors in place after they were used (`x.mul_(2)`), let "
            "it work on others (`x = x * 2`)"
        ) from error
    if found is None:
        check_reach(model, images[:1])
        raise CamstudyError(f"target_layer `{layer.path}`: the logits do not depend on it; name another layer")
    return _Pass(output.detach(), layout, to_nchw(found, layout), logits.detach(), chosen)


@contextmanager
def _cut(layer: TargetLayer, n: int) -> Iterator[list[tuple[Tensor, str]]]:
    """Make the layer's output for n images the graph's leaf; yield the list that gets it and its layout."""
    outputs: list[tuple[Tensor, str]] = []

    def cut(_module: nn.Module, _inputs: object, output: object) -> Tensor:
        layout = check_output(output, layer, n)
        if output.dtype in (torch.float16, torch.bfloat16):
            raise CamstudyError(
                f"target_layer `{layer.path}`: its output is {output.dtype}, but maps are computed in float32; take "
                "`torch.autocast` and casts out of the network's forward pass"
            )
        leaf = output.detach().requires_grad_()
        outputs.append((leaf, layout))
        # Later modules may work in place, which a leaf forbids and which would change the activations.
        return leaf.clone()

    # Before the hooks of the model itself, which read features there: they too must see the leaf.
    handle = layer.module.register_forward_hook(cut, prepend=True)
    try:
        yield outputs
    finally:
        handle.remove()
