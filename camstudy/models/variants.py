"""Variants of networks, by name; what makes one is imported when a network has it, and no other code depends on it."""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from camstudy.registry import Registry


@dataclass(frozen=True)
class Variant:
    """A change to a network; ``module()`` returns the module with its functions.

    ``convert(model, *, seed, **params)`` returns the changed network, ``fold(model)`` one for inference with the same
    outputs, in which layers that only training needs have become plain ones.
    """

    name: str
    module: Callable[[], ModuleType]


VARIANTS: Registry[Variant] = Registry("variant", Variant)


@VARIANTS.register("dcls")
def _dcls() -> ModuleType:
    from camstudy.models import dcls

    return dcls
