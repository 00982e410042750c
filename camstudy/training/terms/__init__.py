"""Terms of the training loss, one module for each name; what a recipe asks for is added up.

Planning asks which terms a recipe has: a module imports torch within its functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from camstudy.core.registry import ModuleRegistry

if TYPE_CHECKING:
    from torch import Tensor, nn


class Batch(NamedTuple):
    """What a term is computed from: the network as it is trained, and one pass of images through it."""

    network: nn.Module
    images: Tensor  # (n, 3, h, w)
    labels: Tensor  # int64 (n,); of sigmoid heads int8 (n, classes), see `camstudy.data.dataset`, `label_set`
    logits: Tensor  # (n, classes)
    epoch: int  # from 0 on


class Measured(NamedTuple):
    """A term's value with figures for the training's history: scalars, each the mean over a pass of images."""

    value: Tensor
    figures: Mapping[str, Tensor]


class Demands(NamedTuple):
    """What has to be so in a pass of images, because a term differentiates the logits with respect to the images.

    ``once`` for its figures alone, ``twice`` where its value, which is differentiated in its turn, is made of such
    derivatives: then in float32, whatever the recipe's precision is. ``switchable`` if ReLUs must heed
    `camstudy.models.guided.guided`: the key that says so and what else to take, for messages.
    """

    once: bool = False
    twice: bool = False
    switchable: tuple[str, str] | None = None


@dataclass(frozen=True)
class Term:
    """A term of the loss.

    ``function(batch, **settings)`` returns a scalar of a `Batch`, alone or as `Measured`. ``settings(recipe)`` are
    those that a recipe, a model's entry `train`, asks for, and None where it does not want the term. A term ``of``
    ``"images"`` is the mean over a pass of images, one ``of`` ``"weights"`` does not look at them and counts once in a
    step of several passes.
    ``demands(settings)`` are those of the term. ``heads`` are those of the models that it is for.
    """

    name: str
    function: Callable[..., Tensor | Measured]
    settings: Callable[[Mapping], Mapping | None]
    of: Literal["images", "weights"] = "images"
    demands: Callable[[Mapping], Demands] = lambda settings: Demands()
    heads: tuple[str, ...] = ("softmax", "sigmoid")


TERMS: ModuleRegistry[Term] = ModuleRegistry("training term", Term, __name__)


def asked(recipe: Mapping, head: str = "softmax") -> dict[str, Mapping]:
    """Return the settings of the terms that a recipe asks for, by name, in the order of the names.

    ``head`` is the model's, which decides between cross-entropies.
    """
    stated = {name: term.settings(recipe) for name, term in TERMS.items() if head in term.heads}
    return {name: settings for name, settings in stated.items() if settings is not None}


def demanded(recipe: Mapping) -> Demands:
    """Return what all terms of a recipe demand of a pass, and what its ``backward`` does."""
    found = [TERMS[name].demands(settings) for name, settings in asked(recipe).items()]
    if recipe["backward"] == "guided":
        found.append(Demands(switchable=("train.backward", "take a network of ReLUs, or `backward: plain`")))
    once, twice = any(each.once for each in found), any(each.twice for each in found)
    return Demands(once or twice, twice, next((each.switchable for each in found if each.switchable), None))
