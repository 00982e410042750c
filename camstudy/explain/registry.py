"""The registry of explanation methods and the check of their parameters."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from camstudy.errors import CamstudyError, unknown
from camstudy.registry import Registry


@dataclass(frozen=True)
class Method:
    """An explanation method: a pure function and the facts that studies need to know about it.

    ``needs`` says what the function is called with; its parameters are its keyword-only arguments:

    - ``"activations_gradients"``: ``function(activations, gradients, **parameters)``, tensors (n, C, h, w) of
      the target layer; returns a tensor (n, h, w)
    - ``"dataset"``: ``function(image_ids, dataset, **parameters)``, positions (n,) in the dataset and its
      arrays by name; needs no model; returns float32 numpy maps (n, h, w)

    ``reference`` is the dataset array that its maps are compared with, ``source`` where it is defined.
    """

    name: str
    function: Callable
    needs: Literal["activations_gradients", "dataset"]
    source: str
    reference: Literal["human_map", "human_half"] = "human_map"


METHODS: Registry[Method] = Registry("explanation method", Method)


def bind(name: str, parameters: Mapping[str, object]) -> Callable:
    """Return the function of method ``name`` with its parameters filled in.

    Raises `CamstudyError`, with the nearest valid name, for an unknown method or parameter.
    """
    function = METHODS[name].function
    arguments = inspect.signature(function).parameters.values()
    valid = [argument.name for argument in arguments if argument.kind is argument.KEYWORD_ONLY]
    for parameter in parameters:
        if not valid:
            raise CamstudyError(f"method `{name}` takes no parameters, but `{parameter}` is given; remove it")
        if parameter not in valid:
            raise unknown(f"parameter of method `{name}`:", parameter, valid)
    return partial(function, **parameters)
