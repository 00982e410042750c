"""The registry of explanation methods and the check of their parameters."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from camstudy.core.errors import CamstudyError, unknown
from camstudy.core.registry import Registry

Needs = Literal["activations_gradients", "model", "dataset"]


@dataclass(frozen=True)
class Method:
    """An explanation method: a pure function and the facts that studies need to know about it.

    ``needs`` says what the function is called with; its parameters are its keyword-only arguments:

    - ``"activations_gradients"``: ``function(activations, gradients, **parameters)``, tensors (n, C, h, w) of
      the target layer; returns a tensor (n, h, w)
    - ``"model"``: ``function(context, **parameters)``, a `camstudy.explain.context.Context` of n images with the
      model, which it may run as often as it likes; returns a tensor of n square maps
    - ``"dataset"``: ``function(image_ids, dataset, **parameters)``, positions (n,) in the dataset and its
      arrays by name; needs no model; returns float32 numpy maps (n, h, w)

    ``source`` is where it is defined, ``reference`` the dataset array that its maps are compared with.
    ``resolution`` is that of the maps: the target ``"layer"``'s, the ``"input"``'s, one of the method's ``"own"``, or
    the value of the parameter of that name, the side of a map. ``divided`` methods run the network so often for an
    image that large datasets are divided among jobs (`camstudy.core.parts`). ``variant`` is that which a model must
    have for the method to explain it; studies leave out other models.
    """

    name: str
    function: Callable
    needs: Needs
    source: str
    reference: Literal["human_map", "human_half"] = "human_map"
    resolution: str = "layer"
    divided: bool = False
    variant: str | None = None


METHODS: Registry[Method] = Registry("explanation method", Method)


@dataclass(frozen=True)
class BoundMethod:
    """A method with its parameters, defaults included; called with what it ``needs``."""

    method: Method
    parameters: Mapping[str, object]

    @property
    def needs(self) -> Needs:
        """What the method is called with, see `Method`."""
        return self.method.needs

    def side(self, size: int) -> int | None:
        """Return the side of the maps of images of side ``size``; None: only the model tells."""
        if self.method.resolution in ("layer", "input", "own"):
            return size if self.method.resolution == "input" else None
        return self.parameters[self.method.resolution]

    def __call__(self, *inputs: object) -> object:
        """Call the method's function."""
        return self.method.function(*inputs, **self.parameters)


def bind(name: str, parameters: Mapping[str, object]) -> BoundMethod:
    """Return method ``name`` with its parameters filled in.

    Raises `CamstudyError`, with the nearest valid name, for an unknown method or parameter, for a parameter that is
    missing, and for a value of another type than its default has. Ranges are checked by the methods themselves.
    """
    method = METHODS[name]
    arguments = inspect.signature(method.function).parameters.values()
    valid = {argument.name: argument.default for argument in arguments if argument.kind is argument.KEYWORD_ONLY}
    for parameter in parameters:
        if not valid:
            raise CamstudyError(f"method `{name}` takes no parameters, but `{parameter}` is given; remove it")
        if parameter not in valid:
            raise unknown(f"parameter of method `{name}`:", parameter, valid)
    values = {**valid, **parameters}
    for parameter, value in values.items():
        if value is inspect.Parameter.empty:
            raise CamstudyError(f"method `{name}` needs the parameter `{parameter}`; add it to `parameters`")
        _check_type(name, parameter, value, valid[parameter])
    return BoundMethod(method, values)


def check(valid: bool, method: str, parameter: str, value: object, expected: str) -> None:
    """Raise `CamstudyError` unless a parameter's value is ``valid``; ``expected`` says in words what would be."""
    if not valid:
        raise CamstudyError(f"method `{method}`: `{parameter}` must be {expected}, found {value!r}")


def check_choice(method: str, parameter: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `CamstudyError`, with the nearest name, unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise unknown(f"`{parameter}` of method `{method}`:", value, choices)


def _check_type(method: str, parameter: str, value: object, default: object) -> None:
    """Compare with the type of the default; true and false are no numbers, whole numbers will do as fractions."""
    kinds = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    kind = str if default is inspect.Parameter.empty else type(default)
    accepted = (int, float) if kind is float else (kind,)
    valid = kind not in kinds or (isinstance(value, accepted) and (kind is bool or not isinstance(value, bool)))
    check(valid, method, parameter, value, kinds.get(kind, ""))
