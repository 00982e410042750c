"""Read and write weights: safetensors, and torch files without running the code that a pickle may hold."""

import argparse
import codecs
import pathlib
import pickle
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
from DCLS.construct.modules import Dcls2d
from torch import Tensor, nn

from camstudy.core.errors import CamstudyError
from camstudy.core.files import replacing
from camstudy.core.provenance import sha256_file
from camstudy.models.heads import with_initial_head
from camstudy.models.weights.content import SHOWN, picked, refuse_values
from camstudy.models.weights.formats import DAMAGE, damaged, is_safetensors, metadata_of, refuse_format, unreadable
from camstudy.models.weights.hints import class_hint, computed_hint, dcls_hint, stream_hint
from camstudy.models.weights.names import (
    BY_POSITION,
    by_position,
    position_hint,
    prefix_hint,
    unwrapped,
    with_counters,
)

_DCLS_VERSION = "dcls_version"

# All that released `.pth.tar` files hold besides tensors and plain values: options, paths, numbers of numpy. Paths
# become inert pure paths, so that a file written on Windows loads too.
_ALLOWED = [
    argparse.Namespace,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    (pathlib.PurePosixPath, "pathlib.PosixPath"),
    (pathlib.PureWindowsPath, "pathlib.WindowsPath"),
    # Numbers of numpy, as the best accuracy so far: a type and bytes, of files from before numpy 2 too.
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
    np._core.multiarray.scalar,
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),
    codecs.encode,
]


def load_state(path: str | Path, *, key: str | None = None, sha256: str | None = None) -> dict[str, Tensor]:
    """Read the weights of a file of safetensors or torch to the CPU, under the names that they have there.

    Parameters
    ----------
    path : the file
    key : where a torch file keeps the weights, see `camstudy.models.weights.content.picked`
    sha256 : what the file's checksum (hex) must be

    Raises
    ------
    CamstudyError
        for a missing or damaged file, another checksum or format, a pickle with objects other than tensors, plain
        values, ``argparse.Namespace``, paths and numbers of numpy, and where `picked` does.
    """
    path = Path(path)
    if path.is_dir():
        raise CamstudyError(f"{path}: is a folder; name the file of weights in it")
    if not path.is_file():
        raise CamstudyError(f"{path}: no such file; correct `weights.path` or download the file")
    if sha256 is not None and (found := sha256_file(path)) != sha256.lower():
        raise CamstudyError(
            f"{path}: its sha256 is {found}, expected {sha256}; delete the file and download it again, or"
            " correct `weights.sha256` if this is the file you mean"
        )
    refuse_format(path)
    if not is_safetensors(path):
        return picked(_read_torch(path), key, path)
    if key is not None:
        raise CamstudyError(f"{path}: safetensors files have no keys above the weights; remove `weights.key`")
    return _read_safetensors(path)


def load_into(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    where: str,
    headless_for: int | None = None,
    names: str | None = None,
    ordered: bool = True,
) -> bool:
    """Copy weights into a model, all of them and nothing else; positions that its layers share stay shared.

    What wrappers put before all names (``module.``, ``_orig_mod.``, ``model.``) is left out, and counters of batches,
    which old files lack, are the model's own. A tensor that layers share may be in ``state`` under one or more of its
    names. Names as the authors of a variant published them are translated by the ``published_names(state)`` of its
    module, and those of a timm architecture by timm's own filter of the family.

    Parameters
    ----------
    model : the receiver, changed in place
    state : names and tensors
    where : the file or source, for messages
    headless_for : number of classes of a model whose classifier may be missing in ``state``: it then stays as it is
    names : ``by_position`` passes over the names, as `camstudy.models.weights.names.by_position`
    ordered : whether ``state`` is in the order of its network, so that ``by_position`` may be offered

    Returns
    -------
    Whether the classifier was missing.

    Raises
    ------
    CamstudyError
        for missing or unexpected names, other shapes, values that are quantized or not finite, differing copies of a
        tensor that the model shares, and positions of DCLS layers far outside their kernel. The model is unchanged
        then.
    """
    refuse_other_state(model)
    own = model.state_dict(keep_vars=True)
    once = {names[0]: own[names[0]] for names in _names_of_tensors(own)}
    given = state = by_position(once, state, where) if names == BY_POSITION else unwrapped(own, state)
    for module in model.modules():
        if not state.keys() <= own.keys() and hasattr(module, "published_names"):
            state = module.published_names(state)
    if not state.keys() <= own.keys():
        state = timm_names(model, state, where=where)
    headless = False
    if headless_for is not None:
        state, headless = with_initial_head(model, state, headless_for)
    complete, missing = _complete(own, with_counters(own, state), where)
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"`{name}` is {tuple(tensor.shape)}, the model has {tuple(own[name].shape)}" + class_hint(tensor, own[name])
        for name, tensor in complete.items()
        if tensor.shape != own[name].shape
    ]
    problems = [
        f"{len(found)} {what}: {'; '.join(found[:SHOWN])}{'; ...' if len(found) > SHOWN else ''}"
        for what, found in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of another shape", shapes),
        )
        if found
    ]
    if problems:
        raise CamstudyError(
            f"{where}: the weights do not fit the model ({len(own)} names).\n  " + "\n  ".join(problems) + "\n"
            "Compare `arch`, `kwargs`, `num_classes` and `variant` with what the file was made for."
            + dcls_hint(own, state)
            + stream_hint(own, state)
            + prefix_hint(once, given)
            + computed_hint(missing, unexpected)
            + (position_hint(once, given) if ordered else "")
        )
    refuse_values(own, complete, where)
    _check_positions(model, complete, where)
    model.load_state_dict(complete)
    return headless


def _complete(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], where: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights under all names of the model, and the names of those that are missing."""
    complete, missing = {}, []
    for names in _names_of_tensors(own):
        present = [name for name in names if name in state]
        if not present:
            missing += names
            continue
        for name in present[1:]:
            if not torch.equal(state[name], state[present[0]]):
                raise CamstudyError(
                    f"{where}: `{present[0]}` and `{name}` differ, but the model has one tensor for both; the"
                    " file is of a model that shares otherwise: compare `variant` with its own"
                )
        complete |= dict.fromkeys(names, state[present[0]])
    return complete, missing


def load_weights(
    model: nn.Module,
    path: str | Path,
    *,
    key: str | None = None,
    sha256: str | None = None,
    headless_for: int | None = None,
    names: str | None = None,
) -> bool:
    """Load a file into a model: `load_state`, then `load_into`, and the DCLS version if the file records it.

    A file made with v0 fits a v1 model by its shapes, but its kernels would be transposed. Returns what `load_into`
    does. Raises `CamstudyError` as the two do, and if the versions differ.
    """
    state = load_state(path, key=key, sha256=sha256)
    recorded, version = read_metadata(path).get(_DCLS_VERSION), _dcls_version(model)
    if recorded is not None and recorded != version:
        advice = f"set `variant.dcls.version: {recorded}`" if version else "take weights of the plain architecture"
        raise CamstudyError(
            f"{path}: made with DCLS version `{recorded}`, but the model has {version or 'no DCLS layer'}; {advice}"
        )
    # Such files are sorted by the names of their tensors.
    ordered = not is_safetensors(path)
    if names == BY_POSITION and not ordered:
        raise CamstudyError(
            f"{path}: `names: by_position` needs the order of the network, which files of safetensors do not keep; "
            "give a file of torch (`.pth`, `pytorch_model.bin`), or rename the tensors"
        )
    return load_into(model, state, where=str(path), headless_for=headless_for, names=names, ordered=ordered)


def save_model(model: nn.Module, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write a model's weights as safetensors in one step: readers see the old file or the whole new one.

    A tensor that layers share is stored once, under the first of its names; tensors that lie in one another's memory
    are each stored whole. ``metadata`` maps strings to strings; ``dcls_version`` is added for a model with DCLS layers.
    Raises `CamstudyError` for state that is no tensor.
    """
    refuse_other_state(model)
    own = model.state_dict(keep_vars=True)
    tensors = {names[0]: own[names[0]].detach().contiguous() for names in _names_of_tensors(own)}
    lying = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    tensors = {
        name: tensor.clone() if lying[tensor.untyped_storage().data_ptr()] > 1 else tensor
        for name, tensor in tensors.items()
    }
    version = _dcls_version(model)
    metadata = dict(metadata or {}) | ({_DCLS_VERSION: version} if version else {})
    with replacing(path) as temporary:
        # `save_file` would leave a file that others of a shared project cannot read.
        temporary.write_bytes(safetensors.torch.save(tensors, metadata))


def refuse_other_state(model: nn.Module) -> None:
    """Raise `CamstudyError` for a network with state that is no tensor, and so in no file of weights."""
    others = [name for name, value in model.state_dict(keep_vars=True).items() if not isinstance(value, Tensor)]
    if others:
        raise CamstudyError(
            f"arch: {type(model).__name__} has state that is no tensor and would be lost when its weights are saved: "
            f"{', '.join(others[:SHOWN])}; let `get_extra_state` return a tensor, or make it a buffer or an argument"
        )


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return what `save_model` stored beside the weights; empty for torch files, which have no such place."""
    return metadata_of(path)


def _dcls_version(model: nn.Module) -> str | None:
    return ",".join(sorted({layer.version for layer in model.modules() if isinstance(layer, Dcls2d)})) or None


def _names_of_tensors(state: Mapping[str, Tensor]) -> list[list[str]]:
    """Return the names of each distinct tensor of a state with its variables kept."""
    names: dict[int, list[str]] = {}
    for name, tensor in state.items():
        names.setdefault(id(tensor), []).append(name)
    return list(names.values())


def timm_names(model: nn.Module, state: Mapping[str, Tensor], *, where: str) -> Mapping[str, Tensor]:
    """Return a state with its names translated to timm's by the filter of the model's family, if it has one.

    Names that the filter does not know stay as they are. Raises `CamstudyError` if it would drop a tensor, let
    one take another's place, or change more of a shape than axes of length 1.
    """
    translate = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if translate is None:
        return state

    def fails(names: Iterable[str]) -> bool:
        try:
            translate({name: state[name] for name in names}, model)
        except (KeyError, RuntimeError):
            return True
        return False

    unknown_names = [name for name in state if fails([name])] if fails(state) else []
    # Copies, so that a tensor is known by its memory even where names of the file share it.
    known = {name: tensor.clone() for name, tensor in state.items() if name not in unknown_names}
    if fails(known):
        return state
    translated = translate(dict(known), model)
    results = {tensor.data_ptr(): tensor for tensor in translated.values() if tensor.numel()}
    for name, tensor in known.items():
        result = results.get(tensor.data_ptr(), tensor if not tensor.numel() else None)
        if result is None:
            raise CamstudyError(
                f"{where}: `{name}` has no place in the model, or another name takes it; the file is of another"
                " architecture, or its names were changed"
            )
        if [n for n in result.shape if n > 1] != [n for n in tensor.shape if n > 1]:
            raise CamstudyError(f"{where}: `{name}` is {tuple(tensor.shape)}, the model has {tuple(result.shape)}")
    return {**translated, **{name: state[name] for name in unknown_names}}


def _check_positions(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Refuse positions far outside the kernel: they were learnt in a larger one, and would be cut off."""
    for name, layer in model.named_modules():
        if isinstance(layer, Dcls2d):
            limit, reach = layer.dilated_kernel_size[0] // 2, float(state[f"{name}.P"].abs().max())
            # Moving averages that were taken before clamping are outside by less than a step of the optimiser.
            if not reach <= limit + 0.5:
                raise CamstudyError(
                    f"{where}: `{name}.P` reaches {reach:.3g} pixels from the centre, but a kernel of size"
                    f" {2 * limit + 1} ends at {limit}; set `variant.dcls.kernel_size` to that of the file"
                )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise damaged(path, error) from None


def _read_torch(path: Path) -> object:
    try:
        # Opened here, as torch goes by what the name ends in.
        with torch.serialization.safe_globals(_ALLOWED), path.open("rb") as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign is None:
            raise unreadable(path, error) from None
        raise CamstudyError(
            f"{path}: holds a Python object, `{foreign[1]}`, and loading it would run code of the file; open"
            " it where you trust it, and save the weights alone with `safetensors.torch.save_file`"
        ) from None
    except DAMAGE as error:
        raise damaged(path, error) from None
