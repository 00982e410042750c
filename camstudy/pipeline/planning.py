"""Planning of thousands of jobs: what Snakemake (9.27) works out again for each of them is worked out once."""

import gc
import inspect
from collections.abc import Iterable
from functools import cache

from snakemake import sourcecache

# New objects before garbage is looked for, of which planning makes none: the graph of jobs only grows.
OBJECTS = (100_000, 50, 50)


def plan_fast() -> None:
    """Let the Snakemake of this process look for garbage rarely, and parse the path of each script once.

    It parses them three times a job, which took a tenth of the time. What is kept is a pure function of text.
    """
    gc.set_threshold(*OBJECTS)
    sourcecache.parse_uri = cache(sourcecache.parse_uri)


def note_signatures(functions: Iterable[object]) -> None:
    """Note on functions of rules what their arguments are; Snakemake asks for it several times a job."""
    for function in functions:
        if inspect.isfunction(function):
            function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
