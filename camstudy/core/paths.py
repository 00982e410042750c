"""Paths as users write them."""

import os
from pathlib import Path


def expanded(path: str) -> str:
    """Return a path with `~` and variables in the place of what they stand for, where they stand for something."""
    place = Path(os.path.expandvars(path))
    try:
        return str(place.expanduser())
    except RuntimeError:  # nobody of that name
        return str(place)
