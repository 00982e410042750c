"""Passes of anybody's networks: a failure is told in a sentence, and each image must have logits of its own."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from camstudy.core.errors import CamstudyError
from camstudy.explain.layers import frozen

# What constructors and forward passes of anybody's networks raise at shapes and types that they cannot take.
FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    AssertionError,
    LookupError,
    AttributeError,
    ArithmeticError,
    NameError,
)
CLOSE = 1e-3  # of the largest logit: rounding differs with the size of a batch by 1e-6 of it
SUM = 1e-3  # probabilities of half precision sum to 1 within this
# What passes on what a sigmoid or softmax has made, in the names of the graph.
_PASSING = ("Cat", "Neg", "Div", "View", "Reshape", "UnsafeView", "ToCopy", "Squeeze", "Unsqueeze", "Select", "Clone")


def reason(error: Exception) -> str:
    """Return an error's kind and the first line of its text."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


@contextmanager
def told(what: str, key: str) -> Iterator[None]:
    """Say of a failure within the network what it was about and in which line it came about."""
    try:
        yield
    except FAILURES as error:
        frames = traceback.extract_tb(error.__traceback__)
        # Where torch was called: its own lines tell nobody anything.
        frame = [frame for frame in frames if "/torch/" not in frame.filename][-1]
        raise CamstudyError(
            f"{key}: {what} ({reason(error)}; {frame.filename}, line {frame.lineno}); "
            f"correct `{key}` or `kwargs`, or the network"
        ) from error


def check_parameters(model: nn.Module) -> None:
    """Raise `CamstudyError` for a network without parameters, or with some that have no shape yet."""
    parameters = dict(model.named_parameters())
    if not parameters:
        raise CamstudyError(
            f"arch: {type(model).__name__} has no parameters, of which its device and type are read; make its weights "
            "`nn.Parameter`, with `requires_grad=False` if they are not learned"
        )
    lazy = [f"`{name}`" for name, parameter in parameters.items() if isinstance(parameter, UninitializedParameter)]
    if lazy:
        raise CamstudyError(
            f"arch: the first pass of {type(model).__name__} decides the shapes of {', '.join(lazy[:10])}; take "
            "modules that are not lazy, or let the constructor run an image before it returns"
        )


def check_images_kept(model: nn.Module, images: Tensor, before: Tensor) -> None:
    """Raise `CamstudyError` if a pass has changed the images that it was given, which are shown again and again."""
    if not torch.equal(images, before):
        raise CamstudyError(
            f"arch: {type(model).__name__} changes the images that it is given, in place (as `x -= mean` does), and "
            "they are shown to it more than once; let its forward pass work on another tensor (`x = x - mean`)"
        )


def check_finite(model: nn.Module, output: Tensor) -> None:
    """Raise `CamstudyError` unless all that a network returns is a finite number."""
    if not output.isfinite().all():
        raise CamstudyError(
            f"arch: {type(model).__name__} returns NaN or infinity; look in its forward pass for what overflows or is "
            "not defined, and in its weights"
        )


def check_logits(model: nn.Module, logits: Tensor) -> None:
    """Raise `CamstudyError` for logits (n, classes) that are probabilities.

    These are not negative and sum to 1, as logits never do by chance, or come from a sigmoid or softmax, by their graph
    if they have one.
    """
    values = logits.detach()
    sums_to_one = values.shape[1] > 1 and values.min() >= 0 and (values.sum(1) - 1).abs().max() < SUM
    if sums_to_one or _ends_in_probabilities(logits):
        raise CamstudyError(
            f"arch: {type(model).__name__} returns probabilities, expected logits; take the softmax or sigmoid out of "
            "its end (the key `head` says what logits mean)"
        )


def _ends_in_probabilities(logits: Tensor) -> bool:
    step = logits.grad_fn
    while step is not None and step.name().startswith(_PASSING) and step.next_functions:
        step = step.next_functions[0][0]
    return step is not None and step.name().startswith(("Softmax", "Sigmoid"))


def check_repeatable(model: nn.Module, images: Tensor, logits: Tensor) -> None:
    """Raise `CamstudyError` unless an image on its own has the logits that it had beside others."""
    close = {"rtol": CLOSE, "atol": CLOSE * float(logits.detach().abs().max())}
    with torch.no_grad():
        if torch.allclose(model(images[:1]), logits[:1], **close):
            return
        is_random = not torch.allclose(model(images), logits, **close)
    if is_random:
        raise CamstudyError(
            f"arch: the logits of {type(model).__name__} differ from pass to pass in evaluation mode; whatever is "
            "random in it must heed `self.training`"
        )
    raise influenced(model)


def influenced(model: nn.Module) -> CamstudyError:
    """Return the error for a network whose images influence each other."""
    return CamstudyError(
        f"arch: what {type(model).__name__} finds in an image changes with the other images of its batch in evaluation "
        "mode, and so would its map; fix the statistics of batches (norms with `track_running_stats=True`), or take "
        "another network"
    )


def check_passes(model: nn.Module, images: Tensor, *, embeds: bool = False) -> None:
    """Raise `CamstudyError` unless a network can be asked of images (n, 3, h, w), twice with the same answers.

    What `camstudy.explain.checking.check_network` finds with drawn images, as far as two passes of real ones tell it.
    What is no tensor (n, classes) is left to those who need one.
    """
    images, before = images[:2].clone(), images[:2]
    with frozen(model), torch.enable_grad(), told(f"{type(model).__name__} cannot take the images", "input"):
        logits = model(images)
        check_images_kept(model, images, before)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            return
        check_finite(model, logits)
        if not embeds:
            # The graph, by which a sigmoid is known, where there may be one.
            may_be = logits.abs().max() <= 1
            check_logits(model, model(images.clone().requires_grad_().clone()) if may_be else logits)
        check_repeatable(model, images, logits)
