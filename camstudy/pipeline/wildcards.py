"""The wildcards of a job, as Snakemake gives them to functions of rules."""

from collections.abc import Iterable
from typing import Protocol


class Wildcards(Protocol):
    """Texts by name, which are its attributes, too."""

    def __getattr__(self, name: str, /) -> str: ...

    def __getitem__(self, name: str, /) -> str: ...

    def get(self, name: str, /) -> str | None:
        """Return the text of a wildcard; None where the rule has none of this name."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return names and texts."""
