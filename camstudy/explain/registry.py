"""The registry of explanation methods and the check of their parameters."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from camstudy.core.errors import CamstudyError, unknown
from camstudy.core.registry import Registry
from camstudy.explain.parameters import Check, check_type

Needs = Literal["activations_gradients", "model", "dataset"]


# Names that the stores of maps give to arrays and dimensions of their own.
RESERVED = ("heatmap", "target", "crop_box", "image", "label", "class_name", "y", "x", "edge", "model", "method")


@dataclass(frozen=True)
class MapArray:
    """An array that a method returns beside its maps, one piece for each image, and that is stored beside them.

    ``dims`` names the dimensions of an image's piece, none for a number. ``sizes`` says how large each one is: a
    number, or the name of the method's parameter that is it. ``("y", "x")``, of floats only, are those of the map, come
    last and have no size here: where maps are resampled, so is the array.
    """

    dtype: str
    dims: tuple[str, ...] = ()
    sizes: Mapping[str, int | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = self.dims[:-2] if self.over_maps else self.dims
        if np.dtype(self.dtype).kind not in "fiu":
            raise ValueError(
                f"array of {self.dtype}: only floats and integers have a value that says that none is there"
            )
        if {"y", "x"} & {*own} or (self.over_maps and np.dtype(self.dtype).kind != "f"):
            raise ValueError(f"array over {self.dims} of {self.dtype}: `y` and `x` come last and hold floats")
        if {*own} != {*self.sizes} or {*own} & {*RESERVED} or len({*own}) < len(own):
            raise ValueError(f"array over {self.dims}: `sizes` has {[*self.sizes]}; each dimension needs its own")

    @property
    def over_maps(self) -> bool:
        """Whether it has a value for each pixel of the map."""
        return self.dims[-2:] == ("y", "x")


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

    ``source`` is where it is defined, ``reference`` the dataset array that its maps are compared with:
    of what is made from fixations ``fixation``, or ``observers`` where each observer is compared with the others.
    ``resolution`` is that of the maps: the target ``"layer"``'s, the ``"input"``'s, one of the method's ``"own"``, or
    the value of the parameter of that name, the side of a map. ``divided`` methods run the network so often for an
    image that large datasets are divided among jobs (`camstudy.core.parts`). A method with ``arrays`` returns
    ``(maps, {name: values})``, with values (n, ...) of the maps' kind for each name in it. ``variant`` is that which a
    model must have for the method to explain it, ``attention`` says that it must be a transformer whose attention can
    be read; with both, one will do. Studies leave out other models. Of a method that ``answers``, which uses neither
    logits nor classes nor the layer, the passes show the network all images once and in their order, and give the
    logits, too, so that on its own it needs no other pass. ``allowed`` has the checks of
    values (`camstudy.explain.parameters`) by parameter; what depends on images or a network, the function checks.
    """

    name: str
    function: Callable
    needs: Needs
    source: str
    reference: Literal["human_map", "human_half", "fixation", "observers"] = "human_map"
    resolution: str = "layer"
    divided: bool = False
    arrays: Mapping[str, MapArray] = field(default_factory=dict)
    variant: str | None = None
    attention: bool = False
    answers: bool = False
    allowed: Mapping[str, Check] = field(default_factory=dict)

    def __post_init__(self) -> None:
        used = {dim for array in self.arrays.values() for dim in array.dims}
        for name in self.arrays:
            if name in RESERVED or name in used:
                raise ValueError(f"method `{self.name}`: an array cannot be called `{name}`, as others are")


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

    def shapes(self, map_shape: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Return the shape that each of the method's ``arrays`` has for an image whose map is of ``map_shape``."""
        sides = dict(zip("yx", map_shape, strict=True))
        found = {}
        for name, array in self.method.arrays.items():
            sizes = {dim: self.parameters[size] if isinstance(size, str) else size for dim, size in array.sizes.items()}
            found[name] = tuple((sides | sizes)[dim] for dim in array.dims)
        return found

    def __call__(self, *inputs: object) -> object:
        """Call the method's function."""
        return self.method.function(*inputs, **self.parameters)


def bind(name: str, parameters: Mapping[str, object]) -> BoundMethod:
    """Return method ``name`` with its parameters filled in.

    Raises `CamstudyError`, with the nearest valid name, for an unknown method or parameter, for a parameter that is
    missing, for a value of another type than its default has, and for one that the method does not allow.
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
        default = valid[parameter]
        check_type(name, parameter, value, default, missing=default is inspect.Parameter.empty)
        if parameter in method.allowed:
            method.allowed[parameter](name, parameter, value)
    return BoundMethod(method, values)


def separate(method: Callable, result: object) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return what a method gave as maps and its other arrays, in numpy; of a plain function all is maps.

    Raises `CamstudyError` where it is not what the method's record declares.
    """
    declared = method.method.arrays if isinstance(method, BoundMethod) else {}
    if not declared and not isinstance(result, tuple):
        return _numpy(result), {}
    name = method.method.name if isinstance(method, BoundMethod) else method.__name__
    if not declared:
        raise CamstudyError(f"method `{name}`: returns more than maps; declare it in `arrays`")
    if not (isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping)):
        raise CamstudyError(f"method `{name}`: declares `arrays`, so that it must return (maps, arrays by name)")
    maps, found = _numpy(result[0]), {key: _numpy(values) for key, values in result[1].items()}
    if found.keys() != declared.keys():
        raise CamstudyError(f"method `{name}`: declares the arrays {sorted(declared)}, but returns {sorted(found)}")
    for key, shape in method.shapes(maps.shape[1:]).items():
        values, dtype, shape = found[key], declared[key].dtype, (len(maps), *shape)
        if values.shape != shape or not np.can_cast(values.dtype, dtype, "same_kind"):
            raise CamstudyError(
                f"method `{name}`: its array `{key}` is declared as {dtype} {shape} for {len(maps)} images, but is "
                f"{values.dtype} {values.shape}"
            )
    return maps, found


def _numpy(values: object) -> np.ndarray:
    """Return numpy's array of a tensor or of an array."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()
