"""What the names of protocols stand for in results/, where scores lie under them: noted by the study that scores."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from camstudy.core.errors import CamstudyError
from camstudy.core.files import remove
from camstudy.core.identity import introduced
from camstudy.core.names import untried_name
from camstudy.core.provenance import read_json, write_json

NOTES = Path("results/protocols")


def definition(entry: Mapping) -> dict:
    """Return what of a protocol's entry decides scores: all but its title."""
    return {key: value for key, value in entry.items() if key != "title"}


def _complete(noted: dict) -> dict:
    """Return a definition with the keys that came after it was noted, at the value that they stand for."""
    return definition(introduced(f"protocol {noted['family']}")) | noted


def differences(first: Mapping, second: Mapping) -> tuple[str, ...]:
    """Return in words where two definitions differ: what the first and what the second has."""
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return tuple(", ".join(f"{key} {json.dumps(entry.get(key))}" for key in keys) for entry in (first, second))


def claim(config: Mapping, name: str) -> None:
    """Note what a protocol's name stands for and which study says so, before scores are made under it.

    Raises `CamstudyError` as `refuse_taken` does.
    """
    refuse_taken(config, [name])
    entry, noted = definition(config["catalog"]["protocols"][name]), _noted(name)
    if noted is None or _complete(noted["definition"]) != _complete(entry):
        remove(_note(name))
        write_json(_note(name), {"definition": entry, "study": untried_name(config["study"], config["n_images"])})


def refuse_taken(config: Mapping, names: Iterable[str]) -> None:
    """Raise `CamstudyError` where another study has made scores under one of these names with another definition.

    The same study may change its mind: its scores are made anew. A trial is no other study.
    """
    study = untried_name(config["study"], config["n_images"])
    for name in names:
        path, entry, noted = _note(name), definition(config["catalog"]["protocols"][name]), _noted(name)
        if noted is None:
            continue
        if _complete(noted["definition"]) != _complete(entry) and noted["study"] != study:
            there, here = differences(_complete(noted["definition"]), _complete(entry))
            raise CamstudyError(
                f"protocol `{name}`: study `{noted['study']}` has made scores under this name with {there}, yours has "
                f"{here}; give it another name, or delete {path}, and this study makes its scores anew"
            )


def _noted(name: str) -> dict | None:
    """Return what is noted of a name; None where nothing is, or nothing that can be read: scores have identities."""
    try:
        noted = read_json(_note(name))
    except CamstudyError:
        return None
    return noted if "family" in noted.get("definition", ()) and "study" in noted else None


def _note(name: str) -> Path:
    return NOTES / f"{name}.json"
