"""Variants of networks, one module for each name, imported when a network has it: no other code depends on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from camstudy.core.registry import ModuleRegistry

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Variant:
    """A change to a network.

    ``function(model, *, seed, **params)`` returns the changed network, ``fold(model)`` one for inference with the same
    outputs, in which layers that only training needs have become plain ones.
    """

    name: str
    function: "Callable[..., nn.Module]"
    fold: "Callable[[nn.Module], nn.Module]"


VARIANTS: ModuleRegistry[Variant] = ModuleRegistry("variant", Variant, __name__)
