"""The modules and schema files printed in docs/extending.md, as a user would write them; no test of its own."""

import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from camstudy.core import plugins
from camstudy.data.sources import SOURCES
from camstudy.explain.methods import METHODS
from camstudy.figures import FIGURES
from camstudy.metrics.families import METRICS
from camstudy.models.variants import VARIANTS
from camstudy.study.schema import forget_schema
from camstudy.tables import TABLES
from camstudy.training.terms import TERMS

TEXT = (Path(__file__).parents[1] / "docs/extending.md").read_text()
_FENCED = re.compile(r"^ *```(\w+)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    """Return the page's blocks of a language, but for those that are files."""
    found = (textwrap.dedent(text) for kind, text in _FENCED.findall(TEXT) if kind == language)
    return [text for text in found if not _name(text)]


def files() -> dict[str, str]:
    """Return the files that the page prints by their names, which their first lines say."""
    found = (textwrap.dedent(text) for _, text in _FENCED.findall(TEXT))
    return {_name(text): text for text in found if _name(text)}


def study() -> dict:
    """Return the page's study with plugins."""
    return next(yaml.safe_load(block) for block in blocks("yaml") if "plugins:" in block)


def write(folder: Path, *names: str) -> list[str]:
    """Write files of the page into a folder, a module with its schema, and return the names of the modules."""
    for name in names or files():
        for each in (name, f"{Path(name).stem}.schema.yaml"):
            if each in files():
                (folder / each).write_text(files()[each])
    return [name for name in names or files() if name.endswith(".py")]


@contextmanager
def loaded(folder: Path, *names: str) -> Iterator[list[Path]]:
    """Have plugins of the page in this process, and leave everything as it was."""
    registries = (METHODS, METRICS, TABLES, FIGURES, SOURCES, VARIANTS, TERMS)
    known, places = dict(plugins._LOADED), list(sys.path)
    paths = [folder / name for name in write(folder, *names)]
    try:
        plugins.load(paths)
        forget_schema()
        yield paths
    finally:
        stems = {path.stem for path in paths}
        for registry in registries:
            # Not those of the package that were imported meanwhile.
            entries = registry._entries.items()
            kept = {name: record for name, record in entries if record.function.__module__ not in stems}
            registry._entries = kept
        for path in paths:
            sys.modules.pop(path.stem, None)
        plugins._LOADED.clear()
        plugins._LOADED.update(known)
        sys.path[:] = places
        forget_schema()


def _name(text: str) -> str:
    found = re.match(r"# (\w+(?:\.py|\.schema\.yaml))\n", text)
    return found[1] if found else ""
