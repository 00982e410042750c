"""The one registry pattern: a decorator that stores a callable beside a record of facts about it."""

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

from camstudy.errors import unknown

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
            raise unknown(self._what, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
