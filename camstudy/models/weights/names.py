"""Names in checkpoints: what wrappers put before them, what old files lack, and the same network under other names."""

import itertools
from collections.abc import Iterable, Mapping

from torch import Tensor

from camstudy.core.errors import CamstudyError

# DataParallel and AveragedModel, torch.compile, and modules of Lightning.
PREFIXES = ("module.", "_orig_mod.", "model.")
# What torch.compile, FSDP and recomputation put between the modules that they wrap.
WITHIN = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
AVERAGED = "n_averaged"
COUNTER = "num_batches_tracked"
BY_POSITION = "by_position"


def unwrapped(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a state without what wrappers put before all of its names, unless the model's own names begin with it.

    What wrappers put between (``layer1._orig_mod.0.weight``) is left out, too. Of another prefix than those of
    `PREFIXES` that holds if the file has all names of the model after it, and no others. Where all names of the model,
    and they alone, are those of the file after one prefix, they get it. The count of an averaged model (``n_averaged``)
    is left out.
    """
    if state.keys() <= own.keys():
        return state
    if AVERAGED in state and AVERAGED not in own and state[AVERAGED].numel() == 1:
        state = {name: tensor for name, tensor in state.items() if name != AVERAGED}
    state = _without_inner(own, state)
    while prefix := next((each for each in PREFIXES if state and all(name.startswith(each) for name in state)), None):
        stripped = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
        if len(state.keys() & own.keys()) > len(stripped.keys() & own.keys()):
            return state
        state = stripped
    whole = _prefixes(own, state)
    if len(whole) == 1 and all(name.startswith(whole[0]) and name.removeprefix(whole[0]) in own for name in state):
        return {name.removeprefix(whole[0]): tensor for name, tensor in state.items()}
    common = _common(own)
    counters = {name for name in own if name.endswith(COUNTER)}
    if common and own.keys() - counters <= {f"{common}.{name}" for name in state} <= own.keys():
        return {f"{common}.{name}": tensor for name, tensor in state.items()}
    return state


def _without_inner(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a state without the wrappers of single modules, unless the model has such, too."""
    if any(WITHIN & {*name.split(".")} for name in own):
        return state
    inner = {name: ".".join(part for part in name.split(".") if part not in WITHIN) for name in state}
    return {inner[name]: tensor for name, tensor in state.items()} if len({*inner.values()}) == len(inner) else state


def prefix_hint(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say after which prefixes a file has all names of the model, where it has others, too."""
    whole = [f"`{prefix}`" for prefix in _prefixes(own, state)]
    if not whole:
        return ""
    return (
        f" After {' and after '.join(whole)}, the file has all names of the model, beside others: save the tensors of "
        f"{'one of these' if whole[1:] else 'this prefix'} alone, with `safetensors.torch.save_file`."
    )


def _prefixes(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    """Return after which prefixes a state has all names of a model, counters of batches apart."""
    needed = [name for name in own if not name.endswith(COUNTER)]
    ends = [name.removesuffix(needed[0]) for name in state if needed and name.endswith(f".{needed[0]}")]
    return [end for end in ends if all(f"{end}{name}" in state for name in needed)]


def _common(names: Iterable[str]) -> str:
    """Return the modules that all names begin with, with dots between."""
    parts = [name.split(".")[:-1] for name in names]
    shared = itertools.takewhile(lambda each: len({*each}) == 1, zip(*parts, strict=False))
    return ".".join(each[0] for each in shared)


def with_counters(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return a state with the model's own counters of batches, where it has none: a file from before there were any."""
    if any(name.endswith(COUNTER) for name in state):
        return state
    return {**state, **{name: tensor.detach() for name, tensor in own.items() if name.endswith(COUNTER)}}


def by_position(own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return a state under the model's names, in the order of both.

    ``own`` has each tensor once. Raises `CamstudyError`, with the first place where they differ, unless there are as
    many, every shape agrees, and every name ends alike (``weight``, ``running_mean``); and for names that are sorted as
    text, ``10`` before ``2``.
    """
    if [*state] == sorted(state) != sorted(state, key=_numbered):
        raise CamstudyError(
            f"{where}: `names: by_position` does not fit: the file's names are sorted as text, 10 before 2, and the "
            "order of the network is lost; give the file that it was made of, or rename the tensors"
        )
    given = {name: tensor for name, tensor in state.items() if name != AVERAGED}
    if not any(name.endswith(COUNTER) for name in given):
        own = {name: tensor for name, tensor in own.items() if not name.endswith(COUNTER)}
    pairs = zip(own.items(), given.items(), strict=False)
    for number, ((name, tensor), (there, value)) in enumerate(pairs, 1):
        if tensor.shape != value.shape or name.rpartition(".")[2] != there.rpartition(".")[2]:
            raise CamstudyError(
                f"{where}: `names: by_position` does not fit: at place {number} the model has `{name}` "
                f"{tuple(tensor.shape)}, the file `{there}` {tuple(value.shape)}; it is of another network or order"
            )
    if len(own) != len(given):
        raise CamstudyError(
            f"{where}: `names: by_position` does not fit: the model has {len(own)} tensors, the file {len(given)}; it "
            "is of another network"
        )
    return dict(zip(own, given.values(), strict=True))


def _numbered(name: str) -> list[tuple[bool, int | str]]:
    """Return what sorts a name by its numbers."""
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in name.split(".")]


def position_hint(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say that names may be passed over, where all that `by_position` checks agrees."""
    try:
        by_position(own, state, "")
    except CamstudyError:
        return ""
    return (
        " But number, order, shapes and last parts of the names agree: if it is the same network under other names, set"
        " `weights.names: by_position`, and see whether its predictions are right."
    )
