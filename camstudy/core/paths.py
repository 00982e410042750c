"""Paths as users write them."""

import importlib.util
import os
from pathlib import Path

PACKAGE = "package:"


def expanded(path: str) -> str:
    """Return a path with `~` and variables in the place of what they stand for, where they stand for something.

    ``package:skimage/data`` is `data` in the installed Python package `skimage`, wherever that is.
    """
    if path.startswith(PACKAGE):
        name, _, rest = path.removeprefix(PACKAGE).partition("/")
        place = _package(name)
        return str(place / rest) if place else path
    place = Path(os.path.expandvars(path))
    try:
        return str(place.expanduser())
    except RuntimeError:  # nobody of that name
        return str(place)


def not_installed(path: str) -> str:
    """Return what to do where a path is in a package that is not installed; nothing of other paths."""
    name = path.removeprefix(PACKAGE).partition("/")[0]
    if not path.startswith(PACKAGE) or _package(name):
        return ""
    return f"the Python package `{name}` is not installed; install it into the environment of camstudy, or name a path"


def _package(name: str) -> Path | None:
    """Return the directory of an installed package, which is not imported; None where there is none."""
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    return Path(next(iter(found.submodule_search_locations))) if found and found.submodule_search_locations else None
