"""What to say of weights that do not fit: of a network with a variant, of one without, of other classes."""

from collections.abc import Iterable, Mapping

from torch import Tensor


def dcls_hint(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say how to load weights with a variant into a model without it, and the other way round."""
    file_has, model_has = (any(name.endswith(".P") for name in names) for names in (state, own))
    if file_has and not model_has:
        return (
            " The file has positions of DCLS layers: set `weights.include_variant: true`, and `variant.dcls` as the"
            " file was made."
        )
    if model_has and not file_has:
        return (
            " The file has no positions of DCLS layers: remove `weights.include_variant` to load it into the plain"
            " architecture and convert that."
        )
    return ""


def stream_hint(own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Say how to load weights with a CA-Stream into a model without it, and the other way round."""
    file_has, model_has = any("cls_token" in name or name == "stream.token" for name in state), "stream.token" in own
    if file_has and not model_has:
        return " If it has a CA-Stream: set `weights.include_variant: true`, and `variant.castream` as it was made."
    if model_has and not file_has:
        return (
            " The file has no stream: remove `weights.include_variant` to load it into the network alone, and train the"
            " stream."
        )
    return ""


def class_hint(found: Tensor, own: Tensor) -> str:
    """Say how many classes the file has, where a tensor of another shape may be that of a classifier."""
    if found.ndim in (1, 2) and found.shape[1:] == own.shape[1:]:
        return f" (if these are classes: `num_classes: {found.shape[0]}`)"
    return ""


def computed_hint(missing: Iterable[str], unexpected: Iterable[str]) -> str:
    """Say where a file has what a weight is computed of instead of the weight, or the other way round."""
    parts = ("_orig", "_mask", "_g", "_u", "_v")
    there, here = ({_plain(name, parts) for name in names} - {""} for names in (unexpected, missing))
    if not (there & {*missing} or here & {*unexpected} or here & there):
        return ""
    return (
        " Of weights that are computed (weight or spectral normalization, pruning), one has the parts, the other has "
        "not: make them plain before you save them (`remove_weight_norm`, `remove_parametrizations`, `prune.remove`)."
    )


def _plain(name: str, parts: tuple[str, ...]) -> str:
    """Return the name of the weight that a tensor is a part of, nothing for one that is none."""
    if ".parametrizations." in f".{name}":
        module, _, rest = f".{name}".rpartition(".parametrizations.")
        return f"{module}.{rest.partition('.')[0]}"[1:]
    return next((name.removesuffix(part) for part in parts if name.endswith(part)), "")
