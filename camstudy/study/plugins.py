"""The plugins of a study, found beside its file and imported before anything of it is looked up."""

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from camstudy.core import plugins
from camstudy.core.errors import CamstudyError
from camstudy.study.schema import forget_schema
from camstudy.study.written import Place, load_yaml


def add_plugins(
    config: dict, files: Iterable[str | Path] = (), where: Callable[[Place], str] = lambda place: ""
) -> None:
    """Import a configuration's plugins, and state their paths as seen from the working directory, in place.

    A path is looked for beside the file that states it, one of ``files`` (of two, the last), then in the working
    directory. What is no list of text is left to the validation. ``where`` returns in which file, and in which line, a
    value was written, for the messages.

    Raises
    ------
    CamstudyError
        for a file that is not there, and as `camstudy.core.plugins.load`.
    """
    stated = config.get("plugins")
    if not isinstance(stated, list) or not all(isinstance(path, str) and path for path in stated):
        return
    places = [*dict.fromkeys([*_beside(stated, files), Path()])]
    found = []
    for index, path in enumerate(stated):
        try:
            found.append(_find(path, places))
            plugins.load(found[-1:])
        except CamstudyError as error:
            written = where(("plugins", index))
            raise CamstudyError(f"`plugins[{index}]`{f' ({written})' if written else ''}: {error}") from None
    config["plugins"] = found
    if stated and "camstudy.metrics.registry" in sys.modules:
        # Metrics are registered when a job asks for them: a name that is taken is told now.
        importlib.import_module("camstudy.metrics.families")
    forget_schema()


def _beside(stated: list[str], files: Iterable[str | Path]) -> list[Path]:
    """Return the folder of the file that states the plugins, if it is one of the files."""
    for file in reversed([*files]):
        # JSON is YAML, too.
        content = load_yaml(file)
        # A workflow that has this one as a module keeps the study below a key.
        parts = [content, *content.values()] if isinstance(content, Mapping) else []
        if any(isinstance(part, Mapping) and part.get("plugins") == stated for part in parts):
            return [Path(file).parent]
    return []


def _find(path: str, places: list[Path]) -> str:
    for place in places:
        if (found := place / path).is_file():
            inside = found.resolve().is_relative_to(Path.cwd())
            return os.path.relpath(found) if inside else str(found.resolve())
    searched = " and in ".join(str(place.resolve()) for place in places)
    raise CamstudyError(f"no file `{path}` in {searched}; put it there, or correct the path")
