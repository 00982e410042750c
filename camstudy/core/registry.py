"""The one registry pattern: a decorator that stores a callable beside a record of facts about it."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Generic, TypeVar

from camstudy.core.errors import unknown

Record = TypeVar("Record")


class Registry(Mapping[str, Record], Generic[Record]):
    """A mapping from names to records, filled by ``@registry.register(name, **facts)``.

    ``record`` is a dataclass whose first two fields are ``name`` and ``function``.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Shape:
    ...     name: str
    ...     function: callable
    ...     sides: int
    >>> shapes = Registry("shape", Shape)
    >>> @shapes.register("square", sides=4)
    ... def square(): ...
    >>> shapes["square"].sides
    4
    """

    def __init__(self, what: str, record: type[Record]) -> None:
        self._what = what
        self._record = record
        self._entries: dict[str, Record] = {}

    def register(self, name: str, **facts: object) -> Callable[[Callable], Callable]:
        """Register the decorated callable as ``name``; a second use of a name is a programming error."""

        def decorate(function: Callable) -> Callable:
            if name in self._entries:
                raise ValueError(f"{self._what} `{name}` is registered twice")
            self._entries[name] = self._record(name, function, **facts)
            return function

        return decorate

    def __getitem__(self, name: str) -> Record:
        """Return the record of ``name``; raise `CamstudyError` with the nearest name otherwise."""
        if name not in self._entries:
            raise unknown(self._what, name, self)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


class ModuleRegistry(Registry[Record]):
    """A registry of one module for each name, in one package: modules are imported when their name is asked for.

    The module ``{package}.{name}`` registers ``name``; which names there are, the package's folder says.
    """

    def __init__(self, what: str, record: type[Record], package: str) -> None:
        super().__init__(what, record)
        self._package = package

    @cached_property
    def _names(self) -> list[str]:
        return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__))

    def __getitem__(self, name: str) -> Record:
        """Return the record of ``name``, as `Registry` does, after its module was imported."""
        if name in self:
            importlib.import_module(f"{self._package}.{name}")
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
