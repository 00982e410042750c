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
from camstudy.explain.targets import chosen_classes
from camstudy.metrics.faithfulness import Protocol, Ties, blur_kernel
from camstudy.metrics.localization import map_box
from camstudy.models.probabilities import Head, is_predicted, log_probabilities

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
    head: Head = "softmax",
) -> tuple[dict[str, np.ndarray], int]:
    """Return the evidence for `camstudy.metrics.registry.score_family`, and the batch size to continue with.

    The model runs in float32 and evaluation mode on the device of its parameters, and is left as it was.
    Probabilities are softmax, or of a sigmoid head that of the class alone, in float64. Neither other images nor the
    batch size matter, up to rounding.

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
    head : what the logits mean; with a sigmoid, a label is predicted where it is more probable than not

    Returns
    -------
    Arrays by name: `probability`, `masked_probability`, `map_box_share`, `crop_log_probability`, `tied_share` (n,),
    `insertion_curve`, `deletion_curve` (n, steps + 1), and, for perturbation, `positive_correct`,
    `negative_correct`, bool (n, 9). Under `ties: mean`, curves are the means of both orders, and the latter two have
    the answers for one order after the other, (n, 18).

    Raises `CamstudyError` for a class that the model has no logit for, and where memory does not suffice for one
    input.
    """
    device, side = next(model.parameters()).device, images.shape[-1]
    maps = np.asarray(maps, np.float32)
    maps = np.where(np.isfinite(maps).all((1, 2), keepdims=True), maps, np.float32(0))
    views = np.broadcast_to(np.asarray(view, np.float64), (len(maps), 4))
    resized = resample_in_boxes(maps, views, (side, side))
    at_native = protocol.normalize == "native"
    masks = resample_in_boxes(min_max(maps), views, (side, side)) if at_native else min_max(resized)
    boxes = map_box(resized)
    images = images.to(device)
    weights = torch.from_numpy(masks[:, None]).to(device, torch.float32)
    black = black_pixel(mean, std, images)
    network = _Network(model, targets, labels, batch_size, head)
    with frozen(model), torch.no_grad(), plain_float32(device):
        clean = network.ask(1, lambda image, _: images[image])
        masked = network.ask(1, lambda image, _: mask_pixels(images[image], weights[image], black))
        crop = network.ask(1, lambda image, _: torch.cat([_crop(images[i], boxes[i], black) for i in image.tolist()]))
        fills = {"blurred": lambda: _blur(images, protocol.blur), "mean": lambda: torch.zeros_like(black)}
        fills["black"] = lambda: black
        ends = _Ends(images, fills[protocol.start](), fills[protocol.target](), black, clean.log_probability)
        values = torch.from_numpy(resized).to(device)
        tried = [
            _reordered(network, ends, pixel_ranks(values, ties), protocol, perturbation) for ties in protocol.orders()
        ]
        found = {
            "probability": clean.log_probability[:, 0].exp(),
            "masked_probability": masked.log_probability[:, 0].exp(),
            "map_box_share": torch.from_numpy((boxes[:, 2:] - boxes[:, :2]).prod(1) / side**2),
            "crop_log_probability": crop.log_probability[:, 0],
            "tied_share": torch.from_numpy(tied_share(resized)),
            **{name: _merged([one[name] for one in tried]) for name in tried[0]},
        }
    return {name: values.cpu().numpy() for name, values in found.items()}, network.batch_size


def chosen(model: nn.Module, images: Tensor, labels: np.ndarray, target: str, batch_size: int) -> np.ndarray:
    """Return the class that ``target`` means for each image, int64 (n,), as `probe` runs the model.

    ``target`` is one of `camstudy.explain.targets.TARGETS`.
    """
    device = next(model.parameters()).device
    images = images.to(device)
    with frozen(model), torch.no_grad(), plain_float32(device):

        def work(part: slice, _size: int) -> Tensor:
            return chosen_classes(model(images[part]), labels[part], target)

        answers, _ = in_batches(work, len(images), batch_size, device)
    return torch.cat(answers).cpu().numpy()


def pixel_ranks(maps: Tensor, ties: Ties = "row_major") -> Tensor:
    """Return each pixel's place in the order of its map, from 0 for the highest: int32 (n, 1, h, w).

    ``maps`` is (n, h, w) without NaN. Of pixels with one value the first in row-major order comes first, or the last
    if ``reversed``.
    """
    # Adding zero makes -0.0 and 0.0 one value, which radix sorts take for two.
    values = maps.flatten(1) + 0.0
    if ties == "reversed":
        order = values.sort(dim=1, stable=True).indices.flip(1)
    else:
        order = values.sort(dim=1, descending=True, stable=True).indices
    places = torch.arange(order.shape[1], dtype=torch.int32, device=maps.device).expand_as(order)
    ranks = torch.empty(order.shape, dtype=torch.int32, device=maps.device).scatter_(1, order, places)
    return ranks.view(len(maps), 1, *maps.shape[1:])


def tied_share(maps: np.ndarray) -> np.ndarray:
    """Return the share of the pixels that have the most frequent value of their map: (n, h, w) to float64 (n,)."""
    flat = maps.reshape(len(maps), -1)
    return np.array([np.unique(one, return_counts=True)[1].max() for one in flat]) / flat.shape[1]


class _Ends(NamedTuple):
    """Images and what is put in their place, normalised, and the log probability of the images themselves (n, 1)."""

    images: Tensor
    start: Tensor
    target: Tensor
    black: Tensor
    clean: Tensor


def _reordered(
    network: "_Network", ends: _Ends, ranks: Tensor, protocol: Protocol, perturbation: bool
) -> dict[str, Tensor]:
    """Return what follows from one order of the pixels: the curves, and the answers without some of the pixels."""
    pixels, n = ranks[0].numel(), len(ends.images)
    size, steps = protocol.size(pixels), protocol.steps(pixels)

    def replaced(fill: Tensor, kept: Callable[[Tensor, Tensor], Tensor]) -> Inputs:
        """Return inputs whose pixels are the image's where ``kept`` says so of ranks and steps, else ``fill``'s."""
        fill = fill.expand(n, -1, -1, -1)

        def inputs(image: Tensor, step: Tensor) -> Tensor:
            return torch.where(kept(ranks[image], step[:, None, None, None]), ends.images[image], fill[image])

        return inputs

    # The first step of deletion and the last of insertion are the image itself.
    shown = network.ask(steps, replaced(ends.start, lambda rank, step: rank < step * size))
    hidden = network.ask(steps, replaced(ends.target, lambda rank, step: rank >= (step + 1) * size))
    found = {
        "insertion_curve": torch.cat([shown.log_probability, ends.clean], 1).exp(),
        "deletion_curve": torch.cat([ends.clean, hidden.log_probability], 1).exp(),
    }
    if perturbation:
        counts = torch.tensor(protocol.counts(pixels), device=ranks.device)
        highest = replaced(ends.black, lambda rank, step: rank >= counts[step])
        lowest = replaced(ends.black, lambda rank, step: rank < pixels - counts[step])
        found["positive_correct"] = network.ask(len(counts), highest).correct
        found["negative_correct"] = network.ask(len(counts), lowest).correct
    return found


def _merged(values: list[Tensor]) -> Tensor:
    """Return the mean of curves over orders of ties, or all answers one after the other; of one order as it is."""
    if len(values) == 1 or values[0].dtype == torch.bool:
        return torch.cat(values, 1)
    return torch.stack(values).mean(0)


class _Answers(NamedTuple):
    """Of each image and step (n, steps): log probability of the explained class, and whether the label is predicted."""

    log_probability: Tensor
    correct: Tensor


class _Network:
    """A network that is asked about steps of images, so many inputs at a time as its memory allows."""

    def __init__(self, model: nn.Module, targets: np.ndarray, labels: np.ndarray, batch_size: int, head: Head) -> None:
        self.model, self.batch_size, self.head = model, batch_size, head
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
            chosen = log_probabilities(logits.double(), self.head).gather(1, self.targets[image, None])[:, 0]
            return chosen, is_predicted(logits, self.labels[image], self.head)

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
