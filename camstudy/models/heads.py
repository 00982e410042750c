"""The classifier of a network, where weights to start from have none that fits: it stays as it was drawn."""

from collections.abc import Mapping

from torch import Tensor, nn


def head_names(model: nn.Module, classes: int) -> set[str]:
    """Return the names of the classifier's tensors.

    Of timm's networks, the classifier is what they say; of others, the last linear layer or convolution with as many
    outputs as there are ``classes``; nothing where there is none.
    """
    named = dict(model.named_modules())
    stated = getattr(model, "pretrained_cfg", None) or {}
    stated = stated.get("classifier") or ()
    heads = {stated} if isinstance(stated, str) else {*stated}
    if hasattr(model, "get_classifier"):
        found = model.get_classifier()
        modules = found if isinstance(found, tuple | list) else [found]
        heads |= {name for name, module in named.items() if any(module is head for head in modules)}
    if not heads & named.keys():
        fitting = [name for name, module in named.items() if _outputs(module) == classes]
        heads = {*fitting[-1:]}
    return {name for name in model.state_dict() if any(name.startswith(f"{head}.") for head in heads)}


def with_initial_head(model: nn.Module, state: Mapping[str, Tensor], classes: int) -> tuple[dict[str, Tensor], bool]:
    """Return weights with the model's own classifier where they have none, and whether they had none.

    Weights that lack other tensors, too, or only a bias are left as they are: they are of another network.
    """
    own = model.state_dict()
    missing = own.keys() - state.keys()
    if not any(own[name].ndim > 1 for name in missing) or missing - head_names(model, classes):
        return dict(state), False
    return {**state, **{name: own[name] for name in missing}}, True


def _outputs(module: nn.Module) -> int | None:
    if isinstance(module, nn.Linear):
        return module.out_features
    return module.out_channels if isinstance(module, nn.Conv2d) else None
