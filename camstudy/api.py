"""One network and some photographs: maps in a notebook, by the code that studies run.

>>> from camstudy.api import explain
>>> found = explain(model, ["photo.jpg"], "gradcam")  # doctest: +SKIP
>>> found[0].overlay().save("map.png")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from timm.data import resolve_data_config
from torch import nn

from camstudy.core.errors import CamstudyError, unknown
from camstudy.core.geometry import Box
from camstudy.explain.embedding import Similarity, reference_embeddings
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import frozen, resolve_target_layer
from camstudy.explain.methods import METHODS
from camstudy.explain.passes import check_parameters, check_passes
from camstudy.explain.reach import recomputation_told
from camstudy.explain.targets import OF_LABELS, TARGETS
from camstudy.models.adapting import adapted, refuse_unused_output
from camstudy.models.build import INPUT_KEYS
from camstudy.models.inputs import crop_boxes, prepare
from camstudy.models.probabilities import Head, probabilities

if TYPE_CHECKING:
    from torch import Tensor

Picture = str | Path | np.ndarray | Image.Image


@dataclass(frozen=True)
class Map:
    """A map of an image, and what it explains.

    Parameters
    ----------
    values : float32 (h, w), as the method gives them, at its own resolution
    target : the class that is explained, and ``probability`` what the network gives to it
    predicted : the class that the network predicts
    image : uint8 (height, width, 3), as it was given
    view : the part of the image that the network saw, which the map covers: top, left, bottom and right in fractions
    """

    values: np.ndarray
    target: int
    probability: float
    predicted: int
    image: np.ndarray
    view: Box

    def overlay(self) -> Image.Image:
        """Return the map over what the network saw of the image in grey, 224x224: the more heat, the more color."""
        from camstudy.figures.pictures import overlay

        return Image.fromarray(np.round(255 * overlay(self.values, self.image, self.view)).astype(np.uint8))


def explain(
    model: nn.Module,
    images: Sequence[Picture],
    method: str = "gradcam",
    *,
    targets: Sequence[int] | str | None = None,
    references: Sequence[Sequence[Picture]] | None = None,
    layer: str | Mapping[str, str] | None = None,
    input: Mapping | None = None,
    batch_size: int = 16,
    head: Head = "softmax",
    output: str | int | None = None,
    binary: bool = False,
    **parameters: object,
) -> list[Map]:
    """Return the maps of images, one for each.

    Parameters
    ----------
    model : a classifier of images, with weights, on the device that does the work; it is left as it was
    images : paths of files, pictures of PIL, or arrays, uint8 (height, width, 3), of any sizes
    method : a registered method that explains models, see docs/extending.md
    targets : the class to explain of each image, or ``second``; without, the one that the network predicts
    references : of a network that returns embeddings instead of logits: groups of images, each of which stands for a
        class, such as ``[[another_image]]``. Then the cosine of an image's embedding and the mean of a group's is
        explained, and ``probability`` is the softmax of these cosines
    layer : the module to explain, see `camstudy.explain.layers.resolve_target_layer`; found by itself where it can be
    input : how images are prepared: some of size, crop_pct, crop_mode, interpolation, mean and std, and ``channels``, 1
        for a network of grey images; without, what timm says of the model, and for other models its defaults
    batch_size : images per pass, on which the maps do not depend
    head : what the logits mean: ``softmax``, or ``sigmoid`` where an image can have several classes
    output : where the logits are in what the network returns, if that is no tensor: ``"logits"``, or a position
    binary : whether it returns one logit, for the second of two classes
    parameters : of the method

    Raises
    ------
    CamstudyError
        for an unknown method, parameter or layer, a class that the network lacks, and a network that cannot be
        explained: it takes no such images, returns no logits, or others whenever it is asked, or in other company.
    """
    METHODS[method]
    if not isinstance(model, nn.Module):
        raise CamstudyError(
            f"model: found a {type(model).__name__}, expected a network, as `timm.create_model` returns it"
        )
    check_parameters(model)
    kinds = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    if kind := next(iter(kinds - {torch.float32}), None):
        raise CamstudyError(
            f"model: found parameters in {kind}, but maps are computed in float32; call `model.float()`"
        )
    with adapted(model, output=output, binary=binary, channels=(input or {}).get("channels")):
        return _explain(model, images, method, targets, references, layer, input or {}, batch_size, head, parameters)


def _explain(
    model: nn.Module,
    images: Sequence[Picture],
    method: str,
    targets: Sequence[int] | str | None,
    references: Sequence[Sequence[Picture]] | None,
    layer: str | Mapping[str, str] | None,
    input: Mapping,
    batch_size: int,
    head: Head,
    parameters: Mapping,
) -> list[Map]:
    pictures = _pictures(images)
    inputs = _inputs(model, input)
    by_rank = targets if isinstance(targets, str) else "predicted"
    if by_rank not in TARGETS:
        raise unknown("targets", by_rank, [name for name in TARGETS if name not in OF_LABELS])
    if by_rank in OF_LABELS:
        raise CamstudyError(f"targets: found `{by_rank}`, but images have no labels here; give the classes' numbers")
    entry = {"method": method, "parameters": parameters, "target": by_rank, "geometry": "aligned"}
    seen = prepare(pictures, inputs, next(model.parameters()).device)
    check_passes(model, seen, embeds=references is not None)
    refuse_unused_output(model)
    explainer = Explainer(model, resolve_target_layer(model, layer, size=inputs["size"]), inputs, entry, head)
    if references is not None:
        groups = [explainer.prepare([_pixels(image) for image in group]) for group in references]
        model = Similarity(model, reference_embeddings(model, groups, batch_size))
        explainer = replace(explainer, model=model)
    chosen = None if targets is None or isinstance(targets, str) else np.asarray(targets, np.int64)
    no_labels = np.full(len(pictures), -1)
    with recomputation_told(model, seen[:1]):
        maps, found = explainer.explain(
            seen, no_labels, numbers=range(len(pictures)), batch_size=batch_size, targets=chosen
        )
    views = crop_boxes(inputs, np.array([image.shape[:2] for image in pictures]))
    probability = _probability(model, seen, batch_size, head)[np.arange(len(pictures)), found.target]
    numbers = zip(found.target.tolist(), probability.tolist(), found.predicted.tolist(), strict=True)
    return [
        Map(values, *about, image, tuple(view.tolist()))
        for values, about, image, view in zip(maps, numbers, pictures, views, strict=True)
    ]


def _pictures(images: Sequence[Picture]) -> list[np.ndarray]:
    if isinstance(images, str | Path | Image.Image) or len(images) == 0:
        raise CamstudyError("images: found none or one alone, expected a list of them; for one, `[image]`")
    return [_pixels(image) for image in images]


def _pixels(image: Picture) -> np.ndarray:
    from camstudy.data.formats.photographs import decode, pixels_of

    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise CamstudyError(
                f"images: found an array of {image.dtype} {image.shape}, expected uint8 (height, width, 3): colors "
                "last, from 0 to 255, not yet normalized"
            )
        return image
    if isinstance(image, Image.Image):
        return pixels_of(image, "images", upright=True)
    if not isinstance(image, str | Path):
        raise CamstudyError(f"images: found a {type(image).__name__}, expected paths, pictures of PIL or arrays")
    try:
        content = Path(image).read_bytes()
    except OSError as error:
        raise CamstudyError(f"images: {image} cannot be read ({error.strerror}); correct the path") from error
    return decode(content, str(image), upright=True)


def _inputs(model: nn.Module, given: Mapping) -> dict:
    """Return how images are prepared for a network, by what timm has noted in it."""
    known = resolve_data_config(given, pretrained_cfg=getattr(model, "pretrained_cfg", None) or {})
    size = known["input_size"][-1]
    config = {"size": size, **{key: known[key] for key in INPUT_KEYS[1:]}, **given}
    return config | {"mean": list(config["mean"]), "std": list(config["std"])}


def _probability(model: nn.Module, images: Tensor, batch_size: int, head: Head) -> np.ndarray:
    with frozen(model), torch.inference_mode():
        answers = [probabilities(model(part).double(), head).cpu() for part in images.split(batch_size)]
    return torch.cat(answers).numpy()
