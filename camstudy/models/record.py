"""The record of a finished model: what it is and how its weights came about."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from camstudy.core.addresses import redact
from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import sha256_file, versions
from camstudy.models.build import parameter_count
from camstudy.models.timm_names import random_head

PACKAGES = ("torch", "timm", "DCLS")


NOT_MADE_OF = ("title", "target_layer", "input")


def model_record(
    model: nn.Module,
    entry: Mapping,
    identity: str,
    path: str | Path,
    training: Mapping[str, object] | None = None,
    start: Mapping[str, object] | None = None,
) -> dict:
    """Return the content of ``model.json``.

    Parameters
    ----------
    model : the model as trained, DCLS layers unfolded
    entry : its catalogue entry
    identity : of the model, see `camstudy.core.identity`
    path : its saved weights
    training : data set, seed and last epoch of its training, if it was trained
    start : the record of the weights that it has, or that its training began with, if it did not begin at random
    """
    return {
        "identity": identity,
        "entry": _made_of(entry),
        "parameters": parameter_count(model),
        "sha256": sha256_file(path),
        "training": training,
        "start": start,
        "versions": versions(*PACKAGES),
    }


def refuse_random_head(start: Mapping | None, where: str) -> None:
    """Raise `CamstudyError` if weights that are to be a finished model have a random classifier.

    ``start`` is their record; `camstudy.models.weights.fetch` refuses such weights, but a recipe may have gone since.
    """
    if start and start.get("random_head"):
        raise CamstudyError(f"{where}: {random_head(0, 1)}")


def _made_of(entry: Mapping) -> dict:
    """Return what of an entry made the model, fit to be shown: titles and GPUs did not, addresses may hold secrets."""
    kept = {key: value for key, value in entry.items() if key not in NOT_MADE_OF}
    if isinstance(kept.get("weights"), Mapping) and kept["weights"].get("url"):
        kept["weights"] = {**kept["weights"], "url": redact(kept["weights"]["url"])}
    if kept.get("train"):
        kept["train"] = {key: value for key, value in kept["train"].items() if key != "gpu"}
        kept["input"] = entry["input"]
    return kept
