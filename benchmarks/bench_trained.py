"""A trained network and photographs: what channels that are constant save, and the layout in memory that is run."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import timm
import torch
from torch import nn

from benchmarks.table import Row
from benchmarks.timing import float32, interleave, milliseconds, one_thread, ratio, versus
from camstudy.explain.context import mask_pixels, min_max, upsample
from camstudy.explain.engine import explain
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.methods import bind
from camstudy.models.inputs import prepare
from camstudy.models.load import placed
from tests.unit.lite0 import ARCH, INPUTS, LAST, lite0, photograph

CHUNK = 32
PHOTOGRAPH = "coffee"
MODELS = ("resnet50", "convnext_tiny", "vit_tiny_patch16_224")  # beside the trained one, with random weights


class Size(NamedTuple):
    """``few``: rounds of methods of a pass per channel; ``models``: beside the trained one."""

    batch: int
    pixels: int
    repeats: int
    few: int
    models: tuple[str, ...]


FULL, SMALL = Size(4, 224, 5, 1, MODELS), Size(1, 64, 1, 1, ())


def rows(small: bool = False) -> Iterator[Row]:
    """Yield rows on the CPU."""
    size = SMALL if small else FULL
    with one_thread():
        image = prepare([photograph(PHOTOGRAPH)], INPUTS | {"size": size.pixels})
        yield _channels("score_cam", "Score-CAM", image, size)
        yield _channels("ablation_cam", "Ablation-CAM", image, size)
        for name in (ARCH, *size.models):
            yield from _layouts(
                name, image.repeat(size.batch, 1, 1, 1).contiguous(memory_format=torch.channels_last), size
            )


def _channels(method: str, title: str, image: torch.Tensor, size: Size) -> Row:
    """A pass for each channel of the last layer, constant or not, against the method, whose maps are the same."""
    model = placed(lite0(), "cpu").requires_grad_(False)
    layer = resolve_target_layer(model, LAST)
    outputs: list[torch.Tensor] = []
    handle = layer.module.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.no_grad():
        logits = model(image)[0]
    handle.remove()
    (activations,), target = outputs[0], int(logits.argmax())
    constant = (activations.flatten(1) == activations[:, 0, :1]).all(1)
    maps = {}

    def ours() -> None:
        found = explain(
            model,
            layer,
            image,
            np.array([target]),
            {"map": bind(method, {})},
            batch_size=CHUNK,
            mean=INPUTS["mean"],
            std=INPUTS["std"],
        )
        maps["ours"] = found.maps["map"][0]

    @torch.no_grad()
    def every() -> None:
        weigh = _score if method == "score_cam" else _ablate
        weights = torch.cat([weigh(model, image, activations, part, target) for part in _chunks(len(activations))])
        if method == "ablation_cam":
            weights = (logits[target] - weights) / logits[target].abs()
        else:
            # By definition: their mask, scaled to 0 to 1, is none.
            weights[constant] = 0
        maps["every"] = torch.einsum("k,khw->hw", weights, activations).relu().numpy()

    times = interleave({"ours": ours, "every": every}, size.few)
    difference = np.abs(maps["ours"] - maps["every"]).max() / np.ptp(maps["every"])
    detail = (
        f"{constant.sum()} of {len(activations)} channels constant, maps differing by {difference:.0e} of their range"
    )
    # What follows the last layer of this network is nothing beside the pass that Ablation-CAM begins with.
    limit = ">= 1.5" if method == "score_cam" else ">= 1"
    return versus(f"a pass for every channel / {title}, trained {ARCH}", times, "every", "ours", limit, detail)


def _chunks(n: int) -> list[slice]:
    return [slice(start, start + CHUNK) for start in range(0, n, CHUNK)]


def _score(model: nn.Module, image: torch.Tensor, activations: torch.Tensor, part: slice, target: int) -> torch.Tensor:
    masks = min_max(upsample(activations[part], image.shape[-1]))
    shown = mask_pixels(image, masks, -torch.ones(1, 3, 1, 1))
    return model(shown).softmax(1)[:, target]


def _ablate(model: nn.Module, image: torch.Tensor, activations: torch.Tensor, part: slice, target: int) -> torch.Tensor:
    channels = torch.arange(len(activations))[part]
    changed = activations.repeat(len(channels), 1, 1, 1)
    changed[torch.arange(len(channels)), channels] = 0
    return model.forward_head(changed)[:, target]


def _layouts(name: str, images: torch.Tensor, size: Size) -> Iterator[Row]:
    """What is run against the better of both layouts of weights and images, forward alone and with Grad-CAM."""
    torch.manual_seed(0)
    model = lite0() if name == ARCH else timm.create_model(name).eval()
    models = {"first": copy.deepcopy(model), "last": model.to(memory_format=torch.channels_last)}
    shown = {"first": images.contiguous(), "last": images}
    run = placed(copy.deepcopy(model), "cpu")
    layers = {key: resolve_target_layer(each) for key, each in [*models.items(), ("run", run)]}
    labels = np.zeros(len(images))

    def forward(each: nn.Module, batch: torch.Tensor) -> None:
        with torch.no_grad(), float32():
            each(batch)

    def gradcam(key: str, each: nn.Module, batch: torch.Tensor) -> None:
        explain(each, layers[key], batch, labels, {"map": bind("gradcam", {})}, batch_size=len(batch))

    # Prepared images have their channels last whatever the network has.
    contestants = {key: (models[key], shown[key]) for key in models} | {"run": (run, images)}
    for title, work in (("forward pass", lambda key, *given: forward(*given)), ("Grad-CAM", gradcam)):
        calls = {key: (lambda key=key, given=given: work(key, *given)) for key, given in contestants.items()}  # noqa: B023
        times = interleave(calls, size.repeats)
        better = min(models, key=lambda key: ratio(times[key], times["run"]))
        detail = f"{milliseconds(times['run'])} / {milliseconds(times[better])} with channels {better}"
        figure = ratio(times["run"], times[better])
        yield Row(
            f"{title} as run / better of both layouts, {name}", figure, "<= 1.05", f"{detail}, batch of {len(images)}"
        )
