"""The catalogues that ship with the workflow; a study's own entries are laid over them."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.study.written import load_yaml


def with_catalogs(config: Mapping, folder: str | Path) -> dict:
    """Return a configuration laid over the catalogues and the table of resources in the workflow's ``folder``.

    Mappings are merged at every depth, all else is replaced, as Snakemake does with files of configuration.
    """
    found: dict = {}
    for path in catalog_files(folder):
        found = merged(found, load_yaml(path))
    return merged(found, config)


def catalog_files(folder: str | Path) -> list[Path]:
    """Return the files of the catalogues and of the table of resources in the workflow's ``folder``."""
    return [*sorted(Path(folder, "config", "catalog").glob("*.yaml")), Path(folder, "config", "resources.yaml")]


def merged(base: Mapping, top: Mapping) -> dict:
    """Return a mapping laid over another.

    >>> merged({"a": {"b": 1}, "c": [1, 2]}, {"a": {"d": 2}, "c": [3]})
    {'a': {'b': 1, 'd': 2}, 'c': [3]}
    """
    laid = dict(base)
    for key, value in top.items():
        below = laid.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = merged(below, value)
        laid[key] = value
    return laid
