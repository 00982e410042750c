"""Run what follows a target layer, for many outputs of that layer, without running what comes before it again."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from camstudy.explain.context import Context

# Modules that finish before the layer starts, with what they return for one image, call by call.
Records = dict[nn.Module, list]


def tail(context: Context) -> Callable[[int, Tensor], Tensor]:
    """Return ``run(i, outputs)``: logits (m, classes) of image i with the layer returning ``outputs`` (m, ...).

    Modules that finish before the layer starts are replaced by what they returned: in a forward pass of the first
    image, or of image i itself where the logits depend on more than the layer's output, as past a layer inside a
    residual branch. That dependence is read off the graph. Where modules cannot be replaced (the logits are then not
    those that the model gave, or the pass fails), only the layer itself is, and a run costs a forward pass. After each
    run the model is as it was; the outputs may have been worked on in place.
    """
    shared = _record(context, 0)
    bypassed = _bypassed(context, shared)
    kept: tuple[int, Records] | None = None

    def run(i: int, outputs: Tensor) -> Tensor:
        nonlocal kept
        if kept is None or kept[0] != i:
            kept = i, _verified(context, i, _record(context, i) if bypassed and i else shared)
        return _replay(context, i, outputs, kept[1])

    return run


def _record(context: Context, i: int) -> Records:
    """Return what the outermost modules that finish before the layer starts return for image i."""
    finished: list[tuple[nn.Module, object]] = []
    begun: list[int] = []
    reached = False

    def enter(module: nn.Module, _inputs: object) -> None:
        nonlocal reached
        reached = reached or module is context.layer.module
        if not reached:
            begun.append(len(finished))

    def leave(module: nn.Module, _inputs: object, output: object) -> None:
        if not reached:
            # What ran within this module is not needed when this module is replaced.
            del finished[begun.pop() :]
            finished.append((module, output))

    modules = list(context.model.modules())
    handles = [module.register_forward_pre_hook(enter) for module in modules]
    handles += [module.register_forward_hook(leave) for module in modules]
    try:
        context.model(context.images[i : i + 1])
    finally:
        for handle in handles:
            handle.remove()
    records: Records = {}
    for module, output in finished:
        records.setdefault(module, []).append(output)
    return records


def _bypassed(context: Context, records: Records) -> bool:
    """Whether the logits depend on records or on the image by a path that does not lead through the layer."""

    def leaf(tensor: Tensor) -> Tensor:
        differentiable = tensor.is_floating_point()
        return tensor.detach().clone().requires_grad_().clone() if differentiable else tensor

    with torch.enable_grad():
        leaves = {module: tree_map_only(Tensor, leaf, calls) for module, calls in records.items()}
        try:
            return _replay(context, 0, context.output[:1].clone(), leaves, image=leaf(context.images[:1])).requires_grad
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception:  # Whatever it is, `_verified` finds it again and falls back.
            return True


def _verified(context: Context, i: int, records: Records) -> Records:
    """Return the records if they give image i its logits, twice in one batch; nothing otherwise."""
    expected = context.logits[i]
    try:
        found = _replay(context, i, context.output[i : i + 1].repeat(2, *[1] * (context.output.ndim - 1)), records)
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception:  # Anything may go wrong in a model whose modules are taken out; it runs as a whole then.
        return {}
    same = found.shape == (2, len(expected)) and (found - expected).abs().max() <= 1e-3 * expected.abs().max()
    return records if same else {}


def _replay(context: Context, i: int, outputs: Tensor, records: Records, image: Tensor | None = None) -> Tensor:
    """Run the model on copies of image i with the layer returning ``outputs`` and modules what was recorded."""
    m = len(outputs)
    image = context.images[i : i + 1] if image is None else image

    def repeat(tensor: Tensor) -> Tensor:
        return tensor.expand(m, *tensor.shape[1:]) if tensor.ndim and len(tensor) == 1 else tensor

    def returning(module: nn.Module, calls: list) -> Callable:
        forward, left = module.forward, iter(calls)

        def replacement(*args: object, **kwargs: object) -> object:
            for output in left:
                return tree_map_only(Tensor, repeat, output)
            return forward(*args, **kwargs)

        return replacement

    replaced = {module: returning(module, calls) for module, calls in records.items()}
    replaced[context.layer.module] = lambda *args, **kwargs: outputs
    before = {module: vars(module).get("forward") for module in replaced}
    try:
        for module, forward in replaced.items():
            module.forward = forward
        return context.model(repeat(image))
    finally:
        for module, forward in before.items():
            if forward is None:
                del module.forward
            else:
                module.forward = forward
