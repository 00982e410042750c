"""Ask a network what it makes of masked images: the evidence for the metrics of faithfulness.

Every image takes many steps, and steps of several images share a forward pass.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import FULL, Box, resample_in_boxes
from camstudy.core.scaling import min_max
from camstudy.explain.batches import in_batches, plain_float32
from camstudy.explain.context import black_pixel, mask_pixels
from camstudy.explain.layers import frozen
from camstudy.metrics.faithfulness import REMOVED, Protocol, blur_kernel
from camstudy.metrics.localization import map_box

# Returns the network's inputs (b, 3, s, s) for images and steps, both (b,).
Inputs = Callable[[Tensor, Tensor], Tensor]


def probe(
    model: nn.Module,
    images: Tensor,
    maps: np.ndarray,
    targets: np.ndarray,
    labels: np.ndarray,
    *,
    mean: list[float],
    std: list[float],
    protocol: Protocol,
    perturbation: bool = False,
    batch_size: int = 32,
    view: Box | Sequence[Box] = FULL,
) -> tuple[dict[str, np.ndarray], int]:
    """Return the evidence for `camstudy.metrics.registry.score_family`, and the batch size to continue with.

    The model runs in float32 and evaluation mode on the device of its parameters, and is left as it was.
    Probabilities are softmax in float64. Neither other images nor the batch size matter, up to rounding.

    Parameters
    ----------
    model : classifier that returns logits (n, classes)
    images : float32 (n, 3, s, s), resized and normalised as the model expects them. They, their masks and ranks
        are on the model's device at once, some 40 bytes a pixel; of what the network is fed, one batch is.
    maps : raw maps (n, h, w) at their own resolution
    targets, labels : integers (n,): the class that each map explains, and the image's label
    mean, std : of the channels, by which images were normalised
    protocol : of insertion, deletion and masking
    perturbation : whether to remove pixels for positive and negative perturbation too, 18 more passes
    batch_size : network inputs per forward pass; halved as often as the device runs out of memory
    view : part of the maps that the model saw, in fractions of their extent, for all or for each

    Returns
    -------
    Arrays by name: `probability`, `masked_probability`, `map_box_share`, `crop_log_probability` (n,),
    `insertion_curve`, `deletion_curve` (n, steps + 1), and, for perturbation, `positive_correct`,
    `negative_correct`, bool (n, 9).

    Raises `CamstudyError` for a class that the model has no logit for, and where memory does not suffice for one
    input.
    """
    device, side = next(model.parameters()).device, images.shape[-1]
    resized, masks = _resized(maps, view, side, protocol)
    boxes = map_box(resized)
    images = images.to(device)
    weights = torch.from_numpy(masks[:, None]).to(device, torch.float32)
    black = black_pixel(mean, std, images)
    network = _Network(model, targets, labels, batch_size)
    with frozen(model), torch.no_grad(), plain_float32(device):
        clean = network.ask(1, lambda image, _: images[image])
        masked = network.ask(1, lambda image, _: mask_pixels(images[image], weights[image], black))
        crop = network.ask(1, lambda image, _: torch.cat([_crop(images[i], boxes[i], black) for i in image.tolist()]))
        found = {
            "probability": clean.log_probability[:, 0].exp(),
            "masked_probability": masked.log_probability[:, 0].exp(),
            "map_box_share": torch.from_numpy((boxes[:, 2:] - boxes[:, :2]).prod(1) / side**2),
            "crop_log_probability": crop.log_probability[:, 0],
        }
        replacing = _Replacing(images, pixel_ranks(torch.from_numpy(resized).to(device)))
        found |= _curves(network, replacing, clean.log_probability, protocol, black)
        if perturbation:
            found |= _perturbed(network, replacing, black)
    return {name: values.cpu().numpy() for name, values in found.items()}, network.batch_size


def _resized(
    maps: np.ndarray, view: Box | Sequence[Box], side: int, protocol: Protocol
) -> tuple[np.ndarray, np.ndarray]:
    """Return what the model saw of maps at the size of its input, and masks made of them; zeros of non-finite maps."""
    maps = np.asarray(maps, np.float32)
    maps = np.where(np.isfinite(maps).all((1, 2), keepdims=True), maps, np.float32(0))
    views = np.broadcast_to(np.asarray(view, np.float64), (len(maps), 4))
    resized = resample_in_boxes(maps, views, (side, side))
    at_native = protocol.normalize == "native"
    return resized, resample_in_boxes(min_max(maps), views, (side, side)) if at_native else min_max(resized)


class _Replacing(NamedTuple):
    """Images (n, 3, s, s), and the ranks of their pixels (n, 1, s, s), by which pixels are replaced."""

    images: Tensor
    ranks: Tensor

    def by(self, fill: Tensor, kept: Callable[[Tensor, Tensor], Tensor]) -> Inputs:
        """Return inputs whose pixels are the image's where ``kept`` says so of ranks and steps, else ``fill``'s."""
        images, ranks = self
        fill = fill.expand(len(images), -1, -1, -1)

        def inputs(image: Tensor, step: Tensor) -> Tensor:
            return torch.where(kept(ranks[image], step[:, None, None, None]), images[image], fill[image])

        return inputs


def _curves(
    network: "_Network", replacing: _Replacing, clean: Tensor, protocol: Protocol, black: Tensor
) -> dict[str, Tensor]:
    """Return the probabilities along insertion and deletion; ``clean`` (n, 1) is the logarithm of the image's own."""
    images = replacing.images
    fills = {
        "blurred": lambda: _blur(images, protocol.blur),
        "mean": lambda: torch.zeros_like(black),
        "black": lambda: black,
    }
    pixels = images.shape[-1] ** 2
    size, steps = protocol.size(pixels), protocol.steps(pixels)
    # The first step of deletion and the last of insertion are the image itself.
    start = replacing.by(fills[protocol.start](), lambda rank, step: rank < step * size)
    inserted = torch.cat([network.ask(steps, start).log_probability, clean], 1)
    target = replacing.by(fills[protocol.target](), lambda rank, step: rank >= (step + 1) * size)
    deleted = torch.cat([clean, network.ask(steps, target).log_probability], 1)
    return {"insertion_curve": inserted.exp(), "deletion_curve": deleted.exp()}


def _perturbed(network: "_Network", replacing: _Replacing, black: Tensor) -> dict[str, Tensor]:
    """Return whether the label comes first without the highest, and without the lowest pixels."""
    pixels = replacing.images.shape[-1] ** 2
    counts = torch.tensor(np.round(REMOVED * pixels).astype(np.int32), device=replacing.images.device)
    highest = replacing.by(black, lambda rank, step: rank >= counts[step])
    lowest = replacing.by(black, lambda rank, step: rank < pixels - counts[step])
    return {
        "positive_correct": network.ask(len(counts), highest).correct,
        "negative_correct": network.ask(len(counts), lowest).correct,
    }


def pixel_ranks(maps: Tensor) -> Tensor:
    """Return each pixel's place in the order of its map, from 0 for the highest; ties keep their row-major order.

    ``maps`` is (n, h, w) without NaN, the result int32 (n, 1, h, w).
    """
    # Adding zero makes -0.0 and 0.0 one value, which radix sorts take for two.
    order = (maps.flatten(1) + 0.0).sort(dim=1, descending=True, stable=True).indices
    places = torch.arange(order.shape[1], dtype=torch.int32, device=maps.device).expand_as(order)
    ranks = torch.empty(order.shape, dtype=torch.int32, device=maps.device).scatter_(1, order, places)
    return ranks.view(len(maps), 1, *maps.shape[1:])


class _Answers(NamedTuple):
    """Of each image and step (n, steps): log probability of the explained class, and whether the label came first."""

    log_probability: Tensor
    correct: Tensor


class _Network:
    """A network that is asked about steps of images, so many inputs at a time as its memory allows."""

    def __init__(self, model: nn.Module, targets: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self.model, self.batch_size = model, batch_size
        self.device = next(model.parameters()).device
        self.classes = int(np.min(targets)), int(np.max(targets))
        self.targets = torch.as_tensor(targets, dtype=torch.int64, device=self.device)
        self.labels = torch.as_tensor(labels, dtype=torch.int64, device=self.device)

    def ask(self, steps: int, inputs: Inputs) -> _Answers:
        """Return the answers to ``steps`` inputs for each image."""
        n = len(self.targets)

        def work(part: slice, _size: int) -> tuple[Tensor, Tensor]:
            items = torch.arange(part.start, part.stop, device=self.device)
            image, step = items // steps, items % steps
            logits = self.model(inputs(image, step))
            if self.classes[0] < 0 or self.classes[1] >= logits.shape[1]:
                raise CamstudyError(
                    f"maps of classes from {self.classes[0]} to {self.classes[1]}, but {type(self.model).__name__} has "
                    f"{logits.shape[1]} classes; score maps with the model that they explain"
                )
            # In float64: of a probability near 1, float32 keeps little of what is missing.
            chosen = logits.double().log_softmax(1).gather(1, self.targets[image, None])[:, 0]
            return chosen, logits.argmax(1) == self.labels[image]

        answers, self.batch_size = in_batches(work, n * steps, self.batch_size, self.device)
        chosen, correct = (torch.cat(values).view(n, steps) for values in zip(*answers, strict=True))
        return _Answers(chosen, correct)


def _blur(images: Tensor, side: int) -> Tensor:
    """Return blurred images; beyond the border lies the mean colour."""
    kernel = torch.from_numpy(blur_kernel(side)).to(images).expand(images.shape[1], 1, side, side)
    return F.conv2d(images, kernel, padding=side // 2, groups=images.shape[1])


def _crop(image: Tensor, box: np.ndarray, black: Tensor) -> Tensor:
    """Return what is in a box, resized to the whole image: (3, s, s) to (1, 3, s, s); black for an empty box."""
    top, left, bottom, right = box.tolist()
    if bottom == top:
        return black.expand(1, *image.shape)
    return F.interpolate(image[None, :, top:bottom, left:right], image.shape[1:], mode="bicubic", align_corners=False)
