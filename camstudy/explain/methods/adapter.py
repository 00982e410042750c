"""Any further class of pytorch-grad-cam, by its name."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError, unknown
from camstudy.explain.registry import METHODS, check

if TYPE_CHECKING:
    from torch import Tensor

    from camstudy.explain.context import Context


@METHODS.register("pytorch_grad_cam", needs="model", resolution="input", source="pytorch-grad-cam, the class named")
def pytorch_grad_cam(context: Context, *, class_name: str, seed: int = 0) -> Tensor:
    """Return the maps of a class of pytorch-grad-cam, as it makes them: ReLU, min-max, resized to the input.

    Images are explained one by one on a copy of the model, which some classes change. What they draw at random is
    seeded by (seed, image number). Masks of its Score-CAM multiply normalised images; prefer camstudy's own methods
    where there are.

    Raises `CamstudyError` for a class that the library does not have or that fails with this model.
    """
    import copy

    import numpy as np
    import torch
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    from camstudy.explain.layers import to_nchw

    check(seed >= 0, "pytorch_grad_cam", "seed", seed, "at least 0")
    model = copy.deepcopy(context.model)
    layers = [model.get_submodule(context.layer.path)]
    maps = []
    state = np.random.get_state()
    try:
        with torch.enable_grad():
            cam = _class(class_name)(model, layers, reshape_transform=lambda output: to_nchw(output, context.layout))
            # A fully constant model records no graph; the images' gradients make it do so.
            for image, number, target in zip(context.images, context.numbers, context.target.tolist(), strict=True):
                np.random.seed(np.random.SeedSequence([seed, int(number)]).generate_state(4))
                maps.append(cam(image[None].clone().requires_grad_(), [ClassifierOutputTarget(target)])[0])
    except (AssertionError, AttributeError, IndexError, TypeError, ValueError) as error:
        raise CamstudyError(
            f"method `pytorch_grad_cam`: {class_name} fails with {type(model).__name__} and the layer "
            f"`{context.layer.path}` ({type(error).__name__}: {error}); take another class, layer or model"
        ) from error
    finally:
        np.random.set_state(state)
    return torch.from_numpy(np.stack(maps)).to(context.images)


def _class(name: str) -> type:
    import pytorch_grad_cam as library
    from pytorch_grad_cam.base_cam import BaseCAM

    classes = {key: value for key, value in vars(library).items() if inspect.isclass(value)}
    usable = {key: value for key, value in classes.items() if issubclass(value, BaseCAM)}
    if name in classes and name not in usable:
        raise CamstudyError(
            f"method `pytorch_grad_cam`: `{name}` of pytorch-grad-cam is no method that takes a model and a layer; "
            f"those are: {', '.join(sorted(usable))}"
        )
    if name not in usable:
        raise unknown("`class_name` of method `pytorch_grad_cam`:", name, usable)
    return usable[name]
