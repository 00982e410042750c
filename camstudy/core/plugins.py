"""Plugins: a user's own modules, imported by their path; what they register is there for a study as what ships is."""

import importlib
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path

from camstudy.core.errors import CamstudyError

_LOADED: dict[str, Path] = {}


def loaded() -> dict[str, Path]:
    """Return the plugins of this process, the file of each by its module's name."""
    return dict(_LOADED)


def load(paths: Iterable[str | Path]) -> None:
    """Import modules, each under its file's name; their folders become places to import from, after all others.

    Raises
    ------
    CamstudyError
        with file and line, for whatever goes wrong in a module as it is imported, and for a name that is taken.
    """
    for path in map(Path, paths):
        file, name = path.resolve(), path.stem
        if _LOADED.get(name) == file:
            continue
        if path.suffix != ".py" or not name.isidentifier():
            raise CamstudyError(f"plugin {path}: found {path.name}, expected a Python module such as my_methods.py")
        # Last, so that no file beside it stands in the way of what is installed.
        if str(file.parent) not in sys.path:
            sys.path.append(str(file.parent))
        try:
            found = importlib.import_module(name).__file__
        except Exception as error:  # whatever the user's code raises
            raise CamstudyError(f"plugin {_where(error, path)}: {_what(error)}") from None
        if found is None or Path(found).resolve() != file:
            raise CamstudyError(f"plugin {path}: there is a module `{name}` in {found or 'Python'}; rename the file")
        _LOADED[name] = file


def _where(error: Exception, path: Path) -> str:
    """Return the file and the line that is to be mended: the plugin's, or that of a module that it imports."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).resolve() == path.resolve()
    ]
    return f"{path}, line {lines[-1]}" if lines else str(path)


def _what(error: Exception) -> str:
    if isinstance(error, CamstudyError):
        return str(error)
    text = error.msg if isinstance(error, SyntaxError) else error
    return f"{type(error).__name__}: {text}; mend it, or take the file out of `plugins`"
