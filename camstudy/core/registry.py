"""The one registry pattern: a decorator that stores a callable beside a record of facts about it."""

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Generic, TypeVar

from camstudy.core.errors import CamstudyError, unknown

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

    def __init__(self, what: str, record: Callable[..., Record]) -> None:
        self._what = what
        self._record = record
        self._entries: dict[str, Record] = {}
        self._places: dict[str, tuple[str, int]] = {}

    def register(self, name: str, **facts: object) -> Callable[[Callable], Callable]:
        """Register the decorated callable as ``name``; `CamstudyError` names both files where a name has two."""
        caller = sys._getframe(1)
        here = (caller.f_code.co_filename, caller.f_lineno)

        def decorate(function: Callable) -> Callable:
            if other := self._taken(name, function):
                places = " and ".join("{}, line {}".format(*place) for place in (other, here))
                raise CamstudyError(f"{self._what} `{name}` is registered twice: in {places}; rename one of them")
            self._entries[name] = self._record(name, function, **facts)
            self._places[name] = here
            return function

        return decorate

    def place(self, name: str) -> tuple[str, int]:
        """Return file and line in which ``name`` is registered."""
        self[name]
        return self._places[name]

    def _taken(self, name: str, function: Callable) -> tuple[str, int] | None:
        """Return where a name is registered already."""
        return self._places[name] if name in self._entries else None

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

    The module ``{package}.{name}`` registers ``name``; which names there are, the package's folder says. Modules from
    elsewhere, such as a user's, may register other names.
    """

    def __init__(self, what: str, record: Callable[..., Record], package: str) -> None:
        super().__init__(what, record)
        self._package = package

    @cached_property
    def own(self) -> list[str]:
        """The names of the package's modules."""
        return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(self._package).__path__))

    def _taken(self, name: str, function: Callable) -> tuple[str, int] | None:
        # The package's module need not have been imported yet.
        if name in self.own and function.__module__ != f"{self._package}.{name}":
            return str(Path(*importlib.import_module(self._package).__path__, f"{name}.py")), 1
        return super()._taken(name, function)

    def __getitem__(self, name: str) -> Record:
        """Return the record of ``name``, as `Registry` does, after its module was imported."""
        if name in self.own:
            importlib.import_module(f"{self._package}.{name}")
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        return name in self.own or super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        return iter([*self.own, *(name for name in super().__iter__() if name not in self.own)])

    def __len__(self) -> int:
        return len(list(iter(self)))
