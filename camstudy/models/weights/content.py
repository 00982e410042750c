"""Where in a checkpoint the weights are, and whether their values can be a network's."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from camstudy.core.errors import CamstudyError, unknown

STATE_KEYS = ("model", "state_dict_ema", "state_dict")
# As timm's trainer writes them, the average and what it is of.
AVERAGE = ("state_dict_ema", "state_dict")
SHOWN = 10  # names in a message
HALF = 2  # bytes of the smallest floats that are weights as they are; those of 8 bits want a scale
# Of norms: how far values spread, and in how many batches.
COUNTS = ("running_var", "num_batches_tracked")
DEEP = 5  # mappings and lists within each other


def picked(content: object, key: str | None, path: str | Path) -> dict[str, Tensor]:
    """Return the weights of what a checkpoint holds.

    Parameters
    ----------
    content : of the file
    key : where they are, ``network.state_dict`` for a mapping in another; without, they are the content itself, or
        under the first of `STATE_KEYS` that there is, or in the only place that has tensors of more than one axis
    path : of the file, for messages

    Raises
    ------
    CamstudyError
        for a key that is not there, weights in none or several places, and a network that is there twice, such as an
        average beside what it is of; of those of timm's trainer, the average is taken.
    """
    if key is None:
        return dict(content) if _is_state(content) else _found(content, path)
    places = dict(_places(content))
    if isinstance(content, Mapping) and key in content:
        state = content[key]
    elif key in places:
        state = places[key]
    else:
        raise unknown(
            f"key of {path} (`weights.key`)", key, {*(content if isinstance(content, Mapping) else ()), *places}
        )
    if _is_state(state):
        return dict(state)
    return _only(dict(_places(state, key)), state, f"{path}: key `{key}`")


def _found(content: object, path: str | Path) -> dict[str, Tensor]:
    if not isinstance(content, Mapping | list | tuple):
        raise CamstudyError(f"{path}: holds a {type(content).__name__}, not a mapping of names to tensors")
    keys = content if isinstance(content, Mapping) else {}
    key = next((k for k in STATE_KEYS if isinstance(keys.get(k), Mapping)), None)
    if key is None:
        return _only(dict(_places(content)), content, f"{path}: the file")
    state = content[key]
    if not _is_state(state):
        return _only(dict(_places(state, key)), state, f"{path}: key `{key}`")
    twins = [place for place, other in _places(content) if place != key and _shapes(state) <= _shapes(other)]
    if twins and (key, *twins) != AVERAGE:
        raise CamstudyError(
            f"{path}: holds such a network more than once, under {', '.join(f'`{name}`' for name in (key, *twins))}; "
            "set `weights.key` to one of them: an average (EMA) is what most authors evaluate"
        )
    return dict(state)


def _only(places: Mapping[str, Mapping], content: object, what: str) -> dict[str, Tensor]:
    """Return the only weights there are."""
    if len(places) == 1:
        return dict(*places.values())
    if places:
        names = ", ".join([*places][:SHOWN])
        raise CamstudyError(f"{what} has weights in {len(places)} places; set `weights.key` to one of {names}")
    if not isinstance(content, Mapping):
        raise CamstudyError(f"{what} is not a mapping of names to tensors: it holds a {type(content).__name__}")
    others = [f"`{name}` ({type(value).__name__})" for name, value in content.items() if not isinstance(value, Tensor)]
    if _optimizes(content) or any(_optimizes(each) for each in content.values()):
        raise CamstudyError(f"{what} holds the state of an optimizer and no weights; give the file of the network")
    if any("_packed_params" in str(name) for name in content):
        raise CamstudyError(f"{what} holds quantized weights; take those from before quantization")
    if len(others) < len(content):
        beside = f", beside {', '.join(others[:SHOWN])}" if others else ""
        raise CamstudyError(
            f"{what} is not a mapping of names to tensors alone: found {len(content) - len(others)} tensors{beside}; "
            "save the weights alone, under their names, with `safetensors.torch.save_file`"
        )
    held = ", ".join(map(str, [*content][:12])) or "nothing"
    raise CamstudyError(f"{what} is not a mapping of names to tensors: it holds {held}; give the file of the weights")


def _is_state(content: object) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def _optimizes(content: object) -> bool:
    if isinstance(content, list | tuple):
        return any(_optimizes(each) for each in content)
    return isinstance(content, Mapping) and {"state", "param_groups"} <= content.keys()


def _places(content: object, place: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield where there are weights, with dots between keys, but for the states of optimizers and of generators."""
    if depth > DEEP or _optimizes(content) or not isinstance(content, Mapping | list | tuple):
        return
    if _is_state(content):
        if any(tensor.ndim > 1 for tensor in content.values()):
            yield place, content
        return
    for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
        yield from _places(value, f"{place}.{key}" if place else str(key), depth + 1)


def _shapes(state: Mapping[str, Tensor]) -> Counter:
    return Counter(tensor.shape for tensor in state.values())


def refuse_values(own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> None:
    """Raise `CamstudyError` for weights that a network cannot take as they are, though their names and shapes fit.

    These are quantized ones and whole or complex numbers for real ones, which want a scale, sparse ones and those
    without data, and those that are not finite where the network's own are, after training that diverged; and variances
    and counters of batches below zero, which no training makes.
    """
    found: dict[str, list[str]] = {}
    for name, tensor in state.items():
        if text := _mistake(own[name], tensor) or _negative(name, tensor):
            found.setdefault(text, []).append(f"`{name}` ({str(tensor.dtype).removeprefix('torch.')})")
    for text, names in found.items():
        some = ", ".join(names[:SHOWN]) + (", ..." if names[SHOWN:] else "")
        raise CamstudyError(f"{where}: {text}: {some}")


def _mistake(own: Tensor, tensor: Tensor) -> str:
    if tensor.is_quantized or (own.is_floating_point() and (not tensor.is_floating_point() or tensor.itemsize < HALF)):
        return "take the weights from before quantization, or dequantize them: the model has real numbers for these"
    if tensor.is_meta:
        return "save the weights when they are loaded: these have no data (device `meta`)"
    if tensor.layout is not torch.strided:
        return "save the weights as dense tensors (`to_dense`): these are sparse"
    if tensor.is_floating_point() and not tensor.float().isfinite().all() and own.isfinite().all():
        return "take another checkpoint, as training diverged or the file is damaged: these have NaN or infinity"
    return ""


def _negative(name: str, tensor: Tensor) -> str:
    last = name.rpartition(".")[2]
    if last in COUNTS and (tensor < 0).any():
        return "take another checkpoint, as the file is damaged or was changed: these are below zero"
    return ""
