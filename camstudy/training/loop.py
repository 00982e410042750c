"""The training loop: one epoch after the other, each ending in a checkpoint from which a killed run goes on."""

import math
import pickle
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from zipfile import is_zipfile

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from camstudy.core.errors import CamstudyError
from camstudy.core.files import replacing
from camstudy.models.guided import guided, switchable
from camstudy.models.probabilities import Head
from camstudy.models.variants.dcls import clamp_positions
from camstudy.training.data import TrainingLoader
from camstudy.training.distributed import ALONE, Group
from camstudy.training.norms import SynchronisedNorms, synchronise_norms
from camstudy.training.optim import make_optimizer, make_schedule
from camstudy.training.subset import begin, choose, tell
from camstudy.training.terms import TERMS, Batch, Demands, Measured, asked, demanded
from camstudy.training.validation import hits, selected, validate

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def train(
    model: nn.Module,
    loader: TrainingLoader,
    recipe: Mapping,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    fingerprint: str,
    group: Group = ALONE,
    head: Head = "softmax",
) -> tuple[nn.Module, list[dict]]:
    """Train a model by a recipe (the `train` entry of the catalogue, with its defaults filled in).

    Parameters
    ----------
    model : network with logits (n, classes) as output; trained in place
    loader : training batches, of a group of processes the part of this one
    seed : seeds dropout and stochastic depth, anew every epoch and differently in each process
    checkpoint : file that holds the state after the last finished epoch; an unfinished run with the same
        ``fingerprint`` goes on from there, that of another training is overwritten; all processes of a group read it,
        the first one writes it
    group : the processes that train the model together, all of which call this function alike
    head : what the logits mean; of a sigmoid, labels are sets

    Returns
    -------
    ``(model, history)``: the trained model (its exponential moving average if the recipe has ``ema_decay``; as it was
    after the best epoch where it says so), on ``device``, in evaluation mode; and one record per epoch.

    Raises
    ------
    CamstudyError
        if the loss is not finite and the recipe's ``divergence`` does not say `stop`, a label is none of the model's
        classes, the training set is smaller than one batch, the file ``checkpoint`` is something else, `trainable`
        names no module, or the network has activations for which a term or rule of the recipe is not defined.
    """
    if len(loader) == 0:
        raise CamstudyError(f"train.batch_size: {recipe['batch_size']} is more than the training set holds; lower it")
    demands = demanded(recipe)
    model = model.to(device)
    if not demands.twice:
        model = synchronise_norms(model, group, device)
    learning = choose(model, recipe["trainable"])
    state = _State(model, recipe, len(loader) // recipe["accumulate"], device)
    state.load(checkpoint, fingerprint)
    replica = group.replicate(model, device)
    # Algorithms that add in a fixed order, so that a GPU repeats a run, too.
    fixed = {"enabled": True, "benchmark": False, "deterministic": True, "allow_tf32": not demands.twice}
    with torch.backends.cudnn.flags(**fixed):
        for epoch in range(len(state.history), recipe["epochs"]):
            if state.diverged:
                break
            state.remember(recipe["divergence"])
            torch.manual_seed(seed * 1_000_003 + epoch + 10_007 * group.rank)
            replica.train()
            begin(model, learning)
            record = _train_epoch(state, replica, loader, recipe, epoch, device, group, asked(recipe, head))
            if record.get("diverged"):
                state.result().load_state_dict(state.before)
            if recipe["hold_out"]:
                record |= validate(state.result(), loader.validation(device), device, group, head)
            state.history.append(record)
            state.keep_best(recipe["select"])
            if group.rank == 0:
                print(_told(record, recipe["epochs"]), flush=True)
                state.save(checkpoint, fingerprint)
    trained = state.result()
    if state.best is not None:
        trained.load_state_dict(state.best)
    return trained.eval(), state.history


def _told(record: Mapping, epochs: int) -> str:
    """Return an epoch's record as a line for the log.

    >>> _told({"epoch": 2, "learning_rate": 0.1, "loss": 0.25, "accuracy": 0.9, "seconds": 3.2}, 10)
    'epoch 2/10: learning_rate 0.1, loss 0.25, accuracy 0.9, seconds 3.2'
    """
    values = (f"{name} {value:.4g}" for name, value in record.items() if name != "epoch" and value is not None)
    return f"epoch {record['epoch']}/{epochs}: {', '.join(values)}"


class _State:
    """All that a resumed run needs, in one place."""

    def __init__(self, model: nn.Module, recipe: Mapping, steps_per_epoch: int, device: torch.device) -> None:
        self.model = model
        self.optimizer = make_optimizer(model, recipe)
        self.schedule = make_schedule(self.optimizer, recipe, steps_per_epoch)
        self.history: list[dict] = []
        self.best: dict | None = None
        self.before: dict | None = None
        self.average = None
        if recipe["ema_decay"] is not None:
            # torch's average visits a shared position tensor once; averaging state dicts would visit it per layer.
            update = get_ema_multi_avg_fn(recipe["ema_decay"])
            self.average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
        self.precision = AUTOCAST.get(recipe["precision"]) if device.type == "cuda" else None
        self.scaler = torch.amp.GradScaler(enabled=self.precision is torch.float16)

    def result(self) -> nn.Module:
        """Return the model that training is for: the average, where there is one."""
        return self.average.module if self.average else self.model

    @property
    def diverged(self) -> bool:
        """Whether the last epoch ended with a loss that is no number, as a recipe may take as a result."""
        return bool(self.history) and self.history[-1].get("diverged", False)

    def remember(self, divergence: str) -> None:
        """Keep a copy of the weights before an epoch, if they are the result where the epoch diverges."""
        if divergence == "stop":
            self.before = _copy(self.result())

    def keep_best(self, select: str) -> None:
        """Keep a copy of the weights if the last epoch is the best so far and the best is what is wanted."""
        if select == "best" and selected(self.history, select) is self.history[-1]:
            self.best = _copy(self.result())

    def _parts(self) -> dict:
        parts = {"model": self.model, "optimizer": self.optimizer, "schedule": self.schedule, "scaler": self.scaler}
        return parts | ({"average": self.average} if self.average else {})

    def save(self, path: Path, fingerprint: str) -> None:
        state = {name: part.state_dict() for name, part in self._parts().items()}
        about = {"history": self.history, "fingerprint": fingerprint, "best": self.best}
        # Of a path, which torch opens itself, it does not say why it cannot be written.
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(state | about, file)

    def load(self, path: Path, fingerprint: str) -> None:
        if not path.exists():
            return
        try:
            state = torch.load(path, map_location="cpu", weights_only=True) if is_zipfile(path) else None
        except (pickle.UnpicklingError, RuntimeError):
            state = None
        if not isinstance(state, dict) or "fingerprint" not in state:
            raise CamstudyError(
                f"{path}: not a checkpoint of a training run; move or delete it, then run again to train from the start"
            )
        if state["fingerprint"] != fingerprint:
            return
        for name, part in self._parts().items():
            # A gradient scaler has no state where it was off, as on a CPU.
            if state[name]:
                part.load_state_dict(state[name])
        self.history, self.best = state["history"], state.get("best")


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def _train_epoch(
    state: _State,
    replica: nn.Module,
    loader: TrainingLoader,
    recipe: Mapping,
    epoch: int,
    device: torch.device,
    group: Group,
    terms: Mapping[str, Mapping],
) -> dict:
    passes, demands = recipe["accumulate"], demanded(recipe)
    steps = len(loader) // passes
    started = time.perf_counter()
    total_loss = torch.zeros((), device=device)
    correct = torch.zeros((), device=device)
    figures: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros((), device=device))
    title = f"epoch {epoch + 1}/{recipe['epochs']}"
    progress = tqdm(loader.epoch(epoch), title, len(loader), mininterval=10, disable=group.rank > 0)
    for number, (images, labels) in enumerate(progress, 1):
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        is_last = number % passes == 0
        images.requires_grad_(demands.once)
        with group.exchange(replica, now=is_last):
            tell(state.model, labels)
            precision = None if demands.twice else state.precision
            with torch.autocast(device.type, precision, enabled=precision is not None):
                with _passing(state.model, demands, group):
                    logits = replica(images)
                _check_labels(loader.highest_label, logits)
                loss, found = _loss(terms, passes, Batch(state.model, images, labels, logits, epoch), is_last)
            with guided() if recipe["backward"] == "guided" else nullcontext():
                state.scaler.scale(loss).backward()
        if is_last:
            found |= _step(state, recipe["clip_grad_norm"], recipe["log_gradient_norm"])
            state.schedule.step_update(epoch * steps + number // passes)
        total_loss += loss.detach()
        correct += hits(logits.detach(), labels).sum()
        for name, value in found.items():
            figures[name] += value
    # Over the whole batches, of which each process has seen its part.
    total_loss, correct = group.sum(torch.stack([total_loss / group.size, correct]))
    record = _checked(total_loss.item() / steps, epoch, recipe["divergence"])
    seen = steps * recipe["batch_size"]
    seconds = time.perf_counter() - started
    return {
        "epoch": epoch + 1,
        "learning_rate": state.optimizer.param_groups[0]["lr"],
        **record,
        "accuracy": correct.item() / seen,
        **_means(figures, steps, group),
        "seconds": round(seconds, 2),
        "images_per_second": round(seen / seconds, 1),
    }


@contextmanager
def _passing(model: nn.Module, demands: Demands, group: Group) -> Iterator[None]:
    """Let a pass be as the terms need it to be."""
    with ExitStack() as stack:
        if demands.switchable:
            stack.enter_context(switchable(model, *demands.switchable))
        if demands.twice and group.size > 1:
            stack.enter_context(SynchronisedNorms(group))
        yield


def _check_labels(highest: int, logits: torch.Tensor) -> None:
    if highest >= logits.shape[1]:
        raise CamstudyError(
            f"train.dataset: has labels up to {highest}, but the model has {logits.shape[1]} classes; correct "
            "`num_classes`"
        )


def _loss(
    terms: Mapping[str, Mapping], passes: int, batch: Batch, is_last: bool
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return a pass's part of the loss of a step, and the figures of its terms, each a part of a step's mean."""
    figures = {}
    sums: dict[str, torch.Tensor | float] = {"images": 0, "weights": 0}
    for name, settings in terms.items():
        of = TERMS[name].of
        if of == "weights" and not is_last:
            continue
        found = TERMS[name].function(batch, **settings)
        if isinstance(found, Measured):
            figures |= {key: value / passes if of == "images" else value for key, value in found.figures.items()}
            found = found.value
        sums[of] = sums[of] + found
    loss = sums["images"] / passes
    return (loss + sums["weights"] if is_last else loss), figures


def _checked(loss: float, epoch: int, divergence: str) -> dict:
    """Return what the history says of an epoch's loss; raise `CamstudyError` if it is no number and must be one."""
    is_number = math.isfinite(loss)
    if divergence == "stop":
        return {"loss": loss if is_number else None, "diverged": not is_number}
    if not is_number:
        raise CamstudyError(
            f"train: the loss became {loss} in epoch {epoch + 1}; lower learning_rate or set clip_grad_norm"
        )
    return {"loss": loss}


def _means(figures: Mapping[str, torch.Tensor], steps: int, group: Group) -> dict[str, float]:
    """Return the means over steps and processes of the sums that this process has."""
    if not figures:
        return {}
    sums = group.sum(torch.stack(list(figures.values()))) / (steps * group.size)
    return dict(zip(figures, sums.tolist(), strict=True))


def _step(state: _State, clip_grad_norm: float | None, log_norm: bool) -> dict[str, torch.Tensor]:
    """Change the weights by the gradients that the passes of a batch have left, and drop these; return their norm."""
    found = {}
    if log_norm or clip_grad_norm is not None:
        state.scaler.unscale_(state.optimizer)
    if log_norm:
        gradients = [each.grad for each in state.model.parameters() if each.grad is not None]
        found["weight_gradient_norm"] = nn.utils.get_total_norm(gradients)
    if clip_grad_norm is not None:
        nn.utils.clip_grad_norm_(state.model.parameters(), clip_grad_norm)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    state.optimizer.zero_grad(set_to_none=True)
    # The average must never hold positions outside the kernel, so clamping comes before it.
    clamp_positions(state.model)
    if state.average:
        state.average.update_parameters(state.model)
    return found
