"""Which results there are: the records below a folder, by model and method, whole or in parts."""

import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from camstudy.core.errors import CamstudyError, did_you_mean
from camstudy.core.names import CONTROL

Pair = tuple[str, str]


def find_parts(path: str | Path) -> list[Path]:
    """Return the records of a result, `{path}.json` or those of its parts, in their order; nothing where there is none.

    Raises `CamstudyError` where a result is there both whole and in parts.
    """
    whole = Path(f"{path}.json")
    parts = sorted(file for file in Path(path).glob("*.json") if re.fullmatch(r"\d+-\d+", file.stem))
    if parts and whole.exists():
        raise CamstudyError(f"{whole}: there are parts of it, too, in {path}; delete what is left over and rerun")
    return parts or [whole] * whole.exists()


def find_pairs(
    folder: Path, models: Sequence[str] | None, methods: Sequence[str] | None, protocol: str = ""
) -> dict[Pair, list[Path]]:
    """Return the records of each of the models with each of the methods.

    Parameters
    ----------
    folder : whose folders have the names of models; in them are the results by method
    models, methods : names, or one; None takes all there are, but for the model `control`
    protocol : of scores, which are in a folder for each method

    Raises `CamstudyError`, with the nearest name, for the first that is not there.
    """
    models, methods = ([names] if isinstance(names, str) else names for names in (models, methods))
    there = {path.name: _finished(path, protocol) for path in sorted(folder.glob("*/"))}
    if models is None:
        models = [model for model, found in there.items() if found and model != CONTROL]
    if methods is None:
        methods = list(dict.fromkeys(method for model in models for method in there.get(model, {})))
    of = f" of protocol `{protocol}`" if protocol else ""
    if not models or not methods:
        raise CamstudyError(f"{folder}: no finished results{of} found; make them, or name `models` and `methods`")
    for model, method in product(models, methods):
        if method not in there.get(model, {}):
            nearest = did_you_mean(method, there[model]) if model in there else did_you_mean(model, there)
            raise CamstudyError(
                f"{folder / model / method}: no finished results{of}{nearest}; make them, or name others"
            )
    return {(model, method): there[model][method] for model, method in product(models, methods)}


def _finished(folder: Path, protocol: str) -> dict[str, list[Path]]:
    """Return the records of each method below a model's folder."""
    files = (path.name for path in folder.iterdir() if not path.name.endswith((".zarr", ".run.json")))
    names = sorted({name.removesuffix(".json") for name in files})
    found = {name: find_parts(folder / name / protocol if protocol else folder / name) for name in names}
    return {name: records for name, records in found.items() if records}
