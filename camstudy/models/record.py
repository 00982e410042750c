"""The record of a finished model: what it is and how its weights came about."""

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from camstudy.models.build import parameter_count
from camstudy.provenance import sha256_file, versions

PACKAGES = ("torch", "timm", "DCLS")


def model_record(
    model: nn.Module,
    entry: Mapping,
    path: str | Path,
    training: Mapping[str, object] | None = None,
    start: Mapping[str, object] | None = None,
) -> dict:
    """Return the content of ``model.json``.

    Parameters
    ----------
    model : the model as trained, DCLS layers unfolded
    entry : its catalogue entry
    path : its saved weights
    training : data set, seed and last epoch of its training, if it was trained
    start : the record of the weights that it has, or that its training began with, if it did not begin at random
    """
    return {
        "entry": entry,
        "parameters": parameter_count(model),
        "sha256": sha256_file(path),
        "training": training,
        "start": start,
        "versions": versions(*PACKAGES),
    }
