"""Setting damaged results aside, so that the next run makes them anew, and remembering which these are."""

import os
from collections.abc import Iterable
from pathlib import Path

from camstudy.core.errors import Damaged
from camstudy.core.files import remove

# Names of results that were set aside, a line each: tables that are there already would need none of them.
LIST = Path("results", ".set_aside")
ENDING = ".damaged"


def set_aside(error: Damaged) -> str:
    """Rename what is damaged, and its record, to ``{name}.damaged``; return what to say of it.

    Nothing is lost, should a file be good and its record wrong. Chunks of stores are deleted, as they cannot be read.
    Raises `OSError` where that is not allowed.
    """
    for path in [*error.files, error.record]:
        if path.parent.parent.suffix == ".zarr":
            remove(path)
        elif os.path.lexists(path):
            aside = path.with_name(f"{path.name}{ENDING}")
            remove(aside)  # what was set aside before may be a folder
            path.replace(aside)
    if os.path.lexists(LIST) and not LIST.is_file():
        remove(LIST)
    if LIST.parent.is_dir():
        # One short write at the end of a file: jobs do not meet in it.
        with LIST.open("a") as file:
            file.write("".join(f"{path}\n" for path in [*error.files, error.record]))
    return f"{error.found}; it was set aside, and the next run makes it anew"


def made_anew(results: Iterable[str]) -> list[str]:
    """Return which results were set aside and are not there again."""
    if not LIST.is_file():
        return []
    named = {*LIST.read_text(errors="replace").splitlines()}
    return [path for path in dict.fromkeys(results) if path in named and not Path(path).exists()]
