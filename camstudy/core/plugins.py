"""Plugins: a user's own modules, imported by their path; what they register is there for a study as what ships is."""

import sys
import traceback
from collections.abc import Iterable
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

from camstudy.core.errors import CamstudyError

# Folders of packages that are not the user's own.
INSTALLED = {"site-packages", "dist-packages"}

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
        if other := _taken(name):
            raise CamstudyError(f"plugin {path}: there is a module `{name}` already, {other}; rename the file")
        # Last, so that no file beside it stands in the way of what is installed.
        if str(file.parent) not in sys.path:
            sys.path.append(str(file.parent))
        spec = spec_from_file_location(name, file)
        assert spec is not None  # as its name ends in .py
        assert spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except Exception as error:  # whatever the user's code raises
            del sys.modules[name]
            raise CamstudyError(f"plugin {_where(error, path)}: {_what(error)}") from None
        _LOADED[name] = file


def _taken(name: str) -> str:
    """Return where a module of this name is that others may import: Python's, an installed one, another plugin."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) or "Python's"
    spec = find_spec(name)
    origin = (spec and spec.origin) or ""
    return origin if name in sys.stdlib_module_names or INSTALLED & {*Path(origin).parts} else ""


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
