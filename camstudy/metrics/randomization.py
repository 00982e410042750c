"""Randomise a model's weights from the top, part by part, and see what its maps become."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from camstudy.core.scaling import degenerate
from camstudy.explain.engine import Explanation
from camstudy.explain.explainer import Explainer
from camstudy.explain.layers import frozen
from camstudy.metrics.sanity import step_correlation


@dataclass(frozen=True)
class Randomized:
    """What `randomize_explained` returns for n images.

    ``steps`` and ``evidence`` are those of `randomize_from_top`. ``degenerate`` says which maps of the trained model
    are, bool (n,), and ``target`` which classes are explained, int64 (n,).
    """

    steps: list[str]
    evidence: dict[str, np.ndarray]
    degenerate: np.ndarray
    target: np.ndarray


def randomize_explained(
    explainer: Explainer,
    images: Tensor,
    labels: np.ndarray,
    *,
    numbers: Sequence[int],
    max_steps: int = 12,
    seed: int = 0,
    batch_size: int = 32,
) -> Randomized:
    """Return what becomes of a method's maps as its model is randomised, the class explained staying the same.

    Where the method explains the predicted class, it is the trained model's prediction throughout.

    Parameters
    ----------
    explainer : the method with its model, which is left as it was
    images : prepared ones (n, 3, s, s)
    labels : integers (n,)
    numbers : the images' positions in the dataset
    max_steps, seed : of `randomize_from_top`
    batch_size : images per forward pass; halved as often as the device runs out of memory
    """
    trained: list[tuple[np.ndarray, Explanation]] = []

    def maps(_model: nn.Module) -> np.ndarray:
        nonlocal batch_size
        targets = trained[0][1].target if trained else None
        found = explainer.explain(images, labels, numbers=numbers, batch_size=batch_size, targets=targets)
        if not trained:
            trained.append(found)
        batch_size = found[1].batch_size
        return found[0]

    steps, evidence = randomize_from_top(
        explainer.model, maps, size=explainer.inputs["size"], max_steps=max_steps, seed=seed
    )
    return Randomized(steps, evidence, degenerate(trained[0][0]), trained[0][1].target)


def randomize_from_top(
    model: nn.Module,
    explain: Callable[[nn.Module], np.ndarray],
    *,
    size: int,
    max_steps: int = 12,
    seed: int = 0,
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the steps' names and the evidence for `camstudy.metrics.sanity`.

    Maps are made once for the trained model and once for each step, in which one part more is randomised than in
    the one before. The model is left as it was, also after an error.

    Parameters
    ----------
    model : classifier of images (n, 3, size, size)
    explain : returns the model's maps (n, h, w) of the same images and classes each time. Classes must not be chosen
        anew by what the model predicts, which changes.
    size : side of the model's input in pixels, for the blank image that finds the order of its parts
    max_steps : at most so many parts, at least 1
    seed : of the random weights

    Returns
    -------
    ``(names, evidence)``: paths of modules from the top; `step_correlation` and `step_correlation_absolute`,
    float64 (n, steps), and `step_degenerate`, bool, for pairs of maps of which one is degenerate.
    """
    groups = cascade(model, size=size, max_steps=max_steps)
    original = explain(model)
    found: dict[str, list[np.ndarray]] = {}
    with _restored(model):
        for group in tqdm(groups.values(), "steps", mininterval=10):
            randomize(model, group, seed)
            maps = explain(model)
            for name, values in (
                ("step_correlation", step_correlation(original, maps)),
                ("step_correlation_absolute", step_correlation(original, maps, absolute=True)),
                ("step_degenerate", degenerate(original) | degenerate(maps)),
            ):
                found.setdefault(name, []).append(values)
    return list(groups), {name: np.stack(values, 1) for name, values in found.items()}


def cascade(model: nn.Module, *, size: int, max_steps: int) -> dict[str, list[str]]:
    """Return the model's parts from the top as ``{name: names of parameters}``; each parameter is in one part.

    The whole model is divided into its children, then again and again the part with the most modules, until there
    are ``max_steps`` parts; children that are too many for that share parts with their neighbours. The order is that
    in which modules finish in a forward pass of a blank image, last first; what a divided module has of its own, such
    as embeddings of positions, comes after its children. A part is named by the path of its module, by the first and
    the last where several share it, as in `fc to layer3`, and what a divided module has of its own by its parameters.
    """
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, found {max_steps}")
    finished = _finishing_order(model, size)
    own: dict[str, list[str]] = {}  # parameters by the module that has them
    for name, _ in model.named_parameters():
        own.setdefault(name.rpartition(".")[0], []).append(name)
    parts = [("", "", list(own))]
    while len(parts) < max_steps:
        for position in sorted(range(len(parts)), key=lambda i: -len(parts[i][2])):
            path, _, members = parts[position]
            children = _divide(path, members, finished)
            if len(children) > 1:
                break
        else:
            break
        shares = np.array_split(np.arange(len(children)), min(len(children), max_steps - len(parts) + 1))
        parts[position : position + 1] = [
            (children[share[0]][0], children[share[-1]][0], [member for i in share for member in children[i][1]])
            for share in shares
        ]
    found = {}
    for first, last, members in parts:
        ends = _called(first, members, own)[0], _called(last, members, own)[-1]
        name = " to ".join(dict.fromkeys(end or type(model).__name__ for end in ends))
        found[name] = [name for member in members for name in own[member]]
    return found


def _called(path: str, members: Sequence[str], own: Mapping[str, list[str]]) -> list[str]:
    """Return a module's path if all of it is in a part, else its own parameters, which are what is left of it."""
    inside = [member for member in own if not path or member == path or member.startswith(f"{path}.")]
    return [path] if {*inside} <= {*members} else own[path]


def randomize(model: nn.Module, names: Sequence[str], seed: int) -> None:
    """Replace parameters by draws from N(mean, std^2) of their own values, in place; buffers stay.

    Their scale stays that of the trained ones: freshly initialised layers can silence a deep network, whose maps are
    then constant and would pass the check for the wrong reason. A draw depends on the seed and the parameter's
    name alone.
    """
    parameters: Mapping[str, nn.Parameter] = dict(model.named_parameters())
    with torch.no_grad():
        for name in names:
            entropy = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)
            generator = torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))
            old = parameters[name]
            draws = torch.randn(old.shape, generator=generator, dtype=torch.float64)
            std = old.double().std(correction=0).cpu()
            old.copy_(draws * std + old.double().mean().cpu())


def _divide(path: str, members: Sequence[str], finished: Mapping[str, int]) -> list[tuple[str, list[str]]]:
    """Divide a part into its children, last finished first, and then what belongs to its own module."""
    divided: dict[str, list[str]] = {}
    prefix = f"{path}." if path else ""
    for member in members:
        inside = member != path and member.startswith(prefix)
        # A part that several neighbours share is divided no further.
        child = prefix + member.removeprefix(prefix).partition(".")[0] if inside else path
        divided.setdefault(child, []).append(member)
    return sorted(divided.items(), key=lambda part: (part[0] == path, -finished[part[0]]))


def _finishing_order(model: nn.Module, size: int) -> dict[str, int]:
    """Return when each module finishes in a forward pass; one of which nothing is called, when its parent does."""
    calls: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, path=path: calls.append(path)) for path, module in model.named_modules()
    ]
    try:
        with frozen(model), torch.no_grad():
            model(next(model.parameters()).new_zeros(1, 3, size, size))
    finally:
        for handle in handles:
            handle.remove()
    order: dict[str, int] = {}
    for position, path in enumerate(calls):
        order[path] = position
        # A mere list of modules finishes with the last of them.
        while path:
            path = path.rpartition(".")[0]
            order[path] = max(position, order.get(path, 0))
    for path, _ in model.named_modules():
        order.setdefault(path, order[path.rpartition(".")[0]])
    return order


@contextmanager
def _restored(model: nn.Module) -> Iterator[None]:
    """Give the parameters their values back in the end."""
    saved: list[tuple[nn.Parameter, Tensor]] = [(p, p.detach().cpu().clone()) for p in model.parameters()]
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, values in saved:
                parameter.copy_(values)
