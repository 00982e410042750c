"""Any further class of pytorch-grad-cam, by its name."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError, unknown
from camstudy.explain.parameters import at_least
from camstudy.explain.registry import METHODS

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from camstudy.explain.context import Context


# Classes of the library that make a map of a class and a layer without being a BaseCAM.
OTHERS = ("FinerCAM", "SESS")
_PART = "it is a part of AblationCAM"
REFUSED = {
    "AblationLayer": _PART,
    "AblationLayerFasterRCNN": _PART,
    "AblationLayerVit": _PART,
    "ActivationsAndGradients": "it records what other classes need and makes no map",
    "DeepFeatureFactorization": "its maps are of concepts, not of a class",
    "GuidedBackpropReLUModel": "it explains no layer; take the method `guided_backprop`",
    "RefineCAM": "it multiplies the maps of several layers, and with one it is GradCAMPlusPlus",
}


def check_name(method: str, parameter: str, name: str) -> None:
    """Raise `CamstudyError` for a class that the library lacks, or that is none of those that can be taken.

    The library, whose import takes seconds, is only read.
    """
    if name in REFUSED:
        raise _refused(name, REFUSED[name])
    if name not in exported():
        raise unknown(f"`{parameter}` of method `{method}`:", name, {*exported()} - {*REFUSED})


@cache
def exported() -> tuple[str, ...]:
    """Return the names of classes that the library exports."""
    text = Path(importlib.util.find_spec("pytorch_grad_cam").origin).read_text()
    imports = (line for line in ast.parse(text).body if isinstance(line, ast.ImportFrom))
    return tuple(alias.name for line in imports for alias in line.names if alias.name[0].isupper())


def _refused(name: str, reason: str) -> CamstudyError:
    others = ", ".join(sorted({*exported()} - {*REFUSED}))
    return CamstudyError(
        f"method `pytorch_grad_cam`: `{name}` of pytorch-grad-cam cannot be taken: {reason}; those that can be are: "
        f"{others}"
    )


@METHODS.register(
    "pytorch_grad_cam",
    needs="model",
    resolution="input",
    source="pytorch-grad-cam, the class named",
    allowed={"class_name": check_name, "seed": at_least(0)},
)
def pytorch_grad_cam(context: Context, *, class_name: str, seed: int = 0) -> Tensor:
    """Return the maps of a class of pytorch-grad-cam, as it makes them: ReLU, min-max, resized to the input.

    Images are explained one by one on a copy of the model, which some classes change. What they draw at random is
    seeded by (seed, image number). Prefer camstudy's own methods where there are: masks of the library's ScoreCAM
    multiply normalised images, its AblationCAM sets channels to about -1e7 where the layer's smallest activation is
    not 0, the signs of its EigenCAM, EigenGradCAM and KPCA_CAM are arbitrary. FinerCAM compares with the three classes
    whose logits are nearest. SESS runs the model on more than a hundred pieces of the enlarged image.

    Raises `CamstudyError` for a class that the library does not have, that makes no map of a class and a layer, or that
    fails with this model, each with the reason.
    """
    import numpy as np
    import torch

    from camstudy.models.copying import copied

    kind = _class(class_name)
    # Some classes differentiate gradients, which depend on nothing where the parameters are constant.
    model = copied(context.model).requires_grad_(True)
    maps = []
    state = np.random.get_state()
    try:
        with torch.enable_grad():
            explain = _explainer(kind, model, context)
            for image, number, target in zip(context.images, context.numbers, context.target.tolist(), strict=True):
                np.random.seed(np.random.SeedSequence([seed, int(number)]).generate_state(4))
                maps.append(explain(image[None].clone().requires_grad_(), target)[0])
    except torch.cuda.OutOfMemoryError:
        raise
    except (AssertionError, AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise CamstudyError(
            f"method `pytorch_grad_cam`: {class_name} fails with {type(model).__name__} and the layer "
            f"`{context.layer.path}` ({type(error).__name__}: {error}); take another class, layer or model"
        ) from error
    finally:
        np.random.set_state(state)
    return torch.from_numpy(np.stack(maps)).to(context.images)


def usable() -> dict[str, type]:
    """Return the classes of the library that make maps of a class and a layer, by name."""
    from pytorch_grad_cam.base_cam import BaseCAM

    classes = {name: kind for name, kind in _classes().items() if issubclass(kind, BaseCAM) or name in OTHERS}
    return {name: kind for name, kind in classes.items() if name not in REFUSED}


def _classes() -> dict[str, type]:
    import pytorch_grad_cam as library

    return {name: value for name, value in vars(library).items() if inspect.isclass(value)}


def _class(name: str) -> type:
    known = usable()
    if name not in known:
        raise _refused(name, "it makes no map of a class and a layer")
    return known[name]


def _explainer(kind: type, model: nn.Module, context: Context) -> Callable[[Tensor, int], np.ndarray]:
    """Return what makes the maps (1, s, s) of an image (1, 3, s, s) and a class."""
    from pytorch_grad_cam import AblationCAM, FinerCAM, FullGrad, ShapleyCAM
    from pytorch_grad_cam.ablation_layer import AblationLayer, AblationLayerVit
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    from camstudy.explain.layers import to_nchw

    layers = [model.get_submodule(context.layer.path)]
    options = {"reshape_transform": lambda output: to_nchw(output, context.layout)}
    if kind is AblationCAM:
        options["ablation_layer"] = AblationLayer() if context.layout == "nchw" else AblationLayerVit()
    if kind is ShapleyCAM and context.layout != "nchw":
        raise CamstudyError(
            "method `pytorch_grad_cam`: ShapleyCAM of pytorch-grad-cam takes outputs (n, C, h, w) alone, and those of "
            f"the layer `{context.layer.path}` are {context.layout}; take another class or layer"
        )
    if kind is FullGrad:
        _check_biases(model)
    cam = kind(model, layers, **options)
    if kind is FinerCAM:
        # Given targets replace its comparison with similar classes.
        return lambda image, target: cam(image, target_idx=target)
    return lambda image, target: cam(image, [ClassifierOutputTarget(target)])


def _check_biases(model: nn.Module) -> None:
    """Refuse models with biases that the library's FullGrad, whose map is made of all biases, would leave out."""
    from torch import nn

    found = {type(module) for module in model.modules() if getattr(module, "bias", None) is not None}
    others = sorted(kind.__name__ for kind in found - {nn.Conv2d, nn.BatchNorm2d, nn.Linear})
    if others:
        raise CamstudyError(
            f"method `pytorch_grad_cam`: FullGrad adds up the biases of a model, but the library's knows those of "
            f"Conv2d and BatchNorm2d alone, and {type(model).__name__} has some of {', '.join(others)}; take another "
            "class"
        )
