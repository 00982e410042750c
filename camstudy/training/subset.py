"""The part of a network that learns, chosen by module; all else is frozen: constant, without gradients, evaluating."""

from collections.abc import Sequence
from fnmatch import fnmatch

from torch import Tensor, nn

from camstudy.core.errors import CamstudyError, unknown


def choose(model: nn.Module, patterns: Sequence[str] | None) -> list[nn.Module]:
    """Return the modules that learn, and make all other parameters constant; without patterns, it is the whole model.

    Constant parameters have no gradients, and what comes before the first module that learns records no graph.

    Parameters
    ----------
    model : changed in place
    patterns : names of modules, such as ``stream`` or ``layer4.*``; what a module contains learns with it

    Raises
    ------
    CamstudyError
        for a pattern that no module matches, and for modules without parameters.
    """
    if patterns is None:
        return [model]
    names = [name for name, _ in model.named_modules() if name]
    for pattern in patterns:
        if not any(fnmatch(name, pattern) for name in names):
            top = [name for name, _ in model.named_children()]
            raise unknown(f"module of {type(model).__name__} (train.trainable)", pattern, top)
    chosen = [model.get_submodule(name) for name in names if any(fnmatch(name, pattern) for pattern in patterns)]
    model.requires_grad_(False)
    for module in chosen:
        module.requires_grad_(True)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise CamstudyError(f"train.trainable: {', '.join(patterns)} have no parameters; name modules that have some")
    return chosen


def begin(model: nn.Module, chosen: Sequence[nn.Module]) -> None:
    """Put the modules that learn in training mode and all others in evaluation mode.

    Statistics of frozen batch norms so stay what they are, and nothing frozen is dropped at random.
    """
    model.eval()
    for module in chosen:
        module.train()


def tell(model: nn.Module, labels: Tensor) -> None:
    """Give the labels of the next images to the modules that state ``takes_labels``."""
    for module in model.modules():
        if getattr(module, "takes_labels", False):
            module.labels = labels
