"""Whether a network can be trained and explained at all: found with drawn images, before there are weights or data."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.explain.engine import explain
from camstudy.explain.layers import TargetLayer, check_output, resolve_target_layer, stage_paths
from camstudy.explain.orientation import check_orientation
from camstudy.explain.passes import (
    FAILURES,
    check_finite,
    check_images_kept,
    check_logits,
    check_parameters,
    check_repeatable,
    influenced,
    reason,
    told,
)
from camstudy.explain.reach import bypass, check_reach, recomputation_told
from camstudy.models.adapting import described, needs_output, refuse_unused_output
from camstudy.models.build import build_model, fold_variants, input_config, parameter_count
from camstudy.models.guided import switchable
from camstudy.models.inputs import prepare
from camstudy.models.probabilities import embeds
from camstudy.models.weights.checkpoints import refuse_other_state
from camstudy.training.terms import demanded


def check_network(entry: Mapping) -> dict:
    """Return what a network with its variants is, after every check that needs neither weights nor images of a dataset.

    The network is built with random weights and sees two images of noise, prepared as its entry says, once in
    training mode if it is trained, and in evaluation mode with its variants folded.

    Parameters
    ----------
    entry : catalogue entry of a model, defaults filled in

    Returns
    -------
    dict
        ``network`` (its class), ``parameters``, ``classes`` (of an embedding ``dimensions``), ``input_size``, ``layer``
        with path, layout and shape of one image's output, and ``stages``, the shapes of those that its family has, in
        their order.

    Raises
    ------
    CamstudyError
        for an architecture or arguments that do not work, parameters without a shape, state that cannot be saved,
        images of a size or color that it cannot take or changes in place, outputs that are not logits (n, classes) of
        one image as of two, are probabilities or not finite, a layer that it does not have, that cannot be explained or
        whose positions are not those of the image, logits that cannot be differentiated or change from pass to pass,
        images that influence each other, and activations for which the recipe's guided backpropagation is not defined.
    """
    config = input_config(entry)
    noise = np.random.default_rng(0).integers(0, 256, (2, config["size"], config["size"], 3), dtype=np.uint8)
    images = prepare(noise, config)
    model = build_model(entry)
    check_parameters(model)
    parameters = parameter_count(model)
    refuse_other_state(model)
    if entry["train"]:
        rule = demanded(entry["train"]).switchable
        with switchable(model, *rule) if rule else nullcontext():
            _logits(model.train(), images, entry, "in training")
    model = fold_variants(model, entry).eval()
    for some in (images, images[:1]):
        _logits(model, some, entry, "in evaluation mode")
    refuse_unused_output(model)
    check_reach(model, images[:1])
    with recomputation_told(model, images[:1]):
        layer = resolve_target_layer(model, entry["target_layer"], size=config["size"])
        shown = _explained(model, layer, images)
        stages = [TargetLayer(path, model.get_submodule(path), "nchw") for path in stage_paths(model)]
        logits, *outputs = _outputs(model, [layer, *stages], images)
    if not embeds(entry):
        check_logits(model, logits)
    check_repeatable(model, images, logits)
    check_orientation(model, [layer, *stages], images)
    if entry["target_layer"] is None and outputs[0].ndim == 4 and (text := bypass(model, layer, images[:1])):
        print(text)
    return {
        "network": type(model).__name__,
        "parameters": parameters,
        "dimensions" if embeds(entry) else "classes": logits.shape[1],
        "input_size": config["size"],
        "layer": {"path": layer.path, "layout": check_output(outputs[0], layer, 2), "shape": shown},
        "stages": [[*output.shape[1:]] for output in outputs[1:]],
    }


def _logits(model: nn.Module, images: Tensor, entry: Mapping, when: str) -> None:
    """Raise `CamstudyError` unless images have logits; ``when`` says in which mode the network is."""
    size, count, before = images.shape[-1], f"{len(images)} image{'s' * (len(images) > 1)}", images.clone()
    with torch.no_grad(), told(f"`{entry['arch']}` cannot take images of {size}x{size} pixels {when}", "input.size"):
        try:
            logits = model(images)
        except CamstudyError:
            raise
        except FAILURES as error:
            _refuse_kind(model, images, entry, error)
            raise
    check_images_kept(model, images, before)
    expected = (len(images), entry["num_classes"])
    if embeds(entry):
        _check_embeddings(logits, images, entry, when)
        check_finite(model, logits)
        return
    is_real = isinstance(logits, Tensor) and logits.is_floating_point()
    if is_real and tuple(logits.shape) == expected:
        check_finite(model, logits)
        return
    advice = needs_output(logits) or "correct `num_classes` or `kwargs`, or the network"
    if is_real and logits.shape in ((len(images),), (len(images), 1)):
        advice = "set `binary: true` with `num_classes: 2` if that is the logit of the second of two classes"
    raise CamstudyError(
        f"num_classes: `{entry['arch']}` returns {described(logits)} {when} for {count}, expected logits "
        f"{expected}; {advice}"
    )


def _check_embeddings(found: object, images: Tensor, entry: Mapping, when: str) -> None:
    if isinstance(found, Tensor) and found.ndim == 2 and len(found) == len(images) and found.shape[1]:
        return
    raise CamstudyError(
        f"head: `{entry['arch']}` returns {described(found)} {when} for {len(images)} images, expected embeddings "
        f"({len(images)}, dimensions); {needs_output(found) or 'correct `kwargs`, or the network'}"
    )


def _refuse_kind(model: nn.Module, images: Tensor, entry: Mapping, error: Exception) -> None:
    """Raise `CamstudyError` if a network fails because of the number of channels, or of the type of numbers."""
    if isinstance(error, TypeError) and "forward() " in str(error):
        raise CamstudyError(
            f"arch: `{entry['arch']}` cannot be called with images alone ({reason(error)}); its forward pass must take "
            "them, (n, 3, h, w), as its first argument, and no other without a default: wrap it in a module that does"
        ) from error
    where = f"input.channels: `{entry['arch']}`"
    try:
        model(images[:, :1])
    except FAILURES:
        if "expected input" in str(error) and "channels" in str(error):
            raise CamstudyError(
                f"{where} does not take the 3 channels of colors ({reason(error)}); give a network of 3 channels, or "
                "of 1 with `channels: 1`"
            ) from error
    else:
        raise CamstudyError(
            f"{where} takes images of one channel; set `input: {{channels: 1, mean: ..., std: ...}}`, each three times "
            "that of grey images, or give a network of 3 channels"
        ) from error
    if any(name in str(error) for name in ("Half", "BFloat16", "double", "dtype")):
        raise CamstudyError(
            f"arch: `{entry['arch']}` computes in another type than float32 ({reason(error)}); take `.half()`, "
            "`.bfloat16()` and `.double()` out of its forward pass: parameters are float32, and so are logits"
        ) from error


def _explained(model: nn.Module, layer: TargetLayer, images: Tensor) -> list[int]:
    """Return the shape (C, h, w) of a layer's output for one image, found by explaining it as every method does."""
    shape: list[int] = []

    def note(activations: Tensor, gradients: Tensor) -> Tensor:
        shape[:] = activations.shape[1:]
        return activations[:, 0]

    labels = np.zeros(len(images), np.int64)
    with told(f"the logits cannot be differentiated by the layer `{layer.path}`", "target_layer"):
        explain(model, layer, images, labels, {"note": note})
    return shape


def _outputs(model: nn.Module, layers: list[TargetLayer], images: Tensor) -> list[Tensor]:
    """Return the logits and the layers' outputs for two images, which influence none of each other's."""
    outputs: dict[str, Tensor] = {}

    def note(path: str) -> Callable[..., Tensor]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
            outputs[path] = output
            # Later modules may work in place.
            return output.clone()

        return hook

    handles = [layer.module.register_forward_hook(note(layer.path), prepend=True) for layer in layers]
    images = images.clone().requires_grad_()
    try:
        with torch.enable_grad(), told("the logits cannot be differentiated by the image", "arch"):
            found = [model(images), *(outputs[layer.path] for layer in layers)]
            # Signs at random: a sum may be constant, as that of a norm's output.
            draws = torch.Generator().manual_seed(0)
            firsts = [(output[0] * torch.randn(output[0].shape, generator=draws)).sum() for output in found]
            (gradient,) = torch.autograd.grad(sum(firsts), images)
    finally:
        for handle in handles:
            handle.remove()
    for layer, output in zip(layers, found[1:], strict=True):
        check_output(output, layer, len(images))
    # To the bit: what is computed for each image alone has no gradient by another.
    if gradient[1:].any():
        raise influenced(model)
    return found
