"""From a catalogue entry to its trained model, by one process or by several, one per GPU, that share each batch."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from camstudy.data.dataset import open_dataset
from camstudy.models.build import input_config
from camstudy.models.load import initial_model
from camstudy.models.probabilities import head_of
from camstudy.training.data import TrainingLoader
from camstudy.training.distributed import ALONE, Group, launch
from camstudy.training.loop import train


def train_entry(
    entry: Mapping,
    *,
    weights: str | None,
    dataset: str,
    threads: int,
    checkpoint: str,
    fingerprint: str,
    device: torch.device,
    processes: int = 1,
) -> tuple[nn.Module, list[dict]]:
    """Train a catalogue entry and return ``(model, history)``, as `camstudy.training.loop.train` does.

    The result does not depend on the number of processes, up to rounding and to the random numbers of dropout and
    stochastic depth, of which each process draws its own (and see `camstudy.training.norms` for the CPU). A
    run that was killed goes on with any number of them.

    Parameters
    ----------
    entry : catalogue entry with its ``train`` recipe, defaults filled in
    weights : checkpoint to start from, or None
    dataset : manifest of the dataset's store
    threads : CPU threads, shared evenly by the processes; on GPUs all but one of a share prepare images
    checkpoint, fingerprint : see `camstudy.training.loop.train`
    device : ``cpu`` or ``cuda``; several processes take GPUs 0, 1, ...
    processes : how many processes share each batch of ``train.batch_size`` images

    Raises
    ------
    CamstudyError
        for the reasons of `camstudy.training.loop.train`, and if ``train.batch_size`` is no multiple of ``processes``
        times ``train.accumulate``.
    """
    job = {
        "entry": entry,
        "weights": weights,
        "dataset": dataset,
        "threads": max(threads // processes, 1),
        "checkpoint": checkpoint,
        "fingerprint": fingerprint,
    }
    if processes > 1:
        # They leave behind the checkpoint of a finished run, from which this process reads model and history.
        launch(_train, job, processes=processes, device=device.type)
    return _train(**job, device=device, group=ALONE)


def _train(
    *,
    entry: Mapping,
    weights: str | None,
    dataset: str,
    threads: int,
    checkpoint: str,
    fingerprint: str,
    device: torch.device,
    group: Group,
) -> tuple[nn.Module, list[dict]]:
    torch.set_num_threads(threads)
    recipe, seed = entry["train"], entry["seed"]
    # On the CPU, loading beside training would only take threads away from it.
    workers = threads - 1 if device.type == "cuda" else 0
    loader = TrainingLoader(open_dataset(dataset), recipe, input_config(entry), seed, workers, group)
    return train(
        initial_model(entry, weights, seed),
        loader,
        recipe,
        seed=seed,
        device=device,
        checkpoint=Path(checkpoint),
        fingerprint=fingerprint,
        group=group,
        head=head_of(entry),
    )
