"""The library pysaliency as an oracle, which expects older companions than those that are installed."""

import contextlib
import sys
import types
from collections.abc import Iterator

import numpy as np


@contextlib.contextmanager
def pysaliency() -> Iterator[types.ModuleType]:
    """Import pysaliency, with what numpy and setuptools have no more, in place for as long as it is used."""
    stub = types.ModuleType("pkg_resources")
    stub.resource_string = stub.resource_listdir = None
    given = sys.modules.get("pkg_resources")
    sys.modules["pkg_resources"] = stub
    lacks = not hasattr(np, "trapz")
    if lacks:
        np.trapz = np.trapezoid
    try:
        import pysaliency

        yield pysaliency
    finally:
        if lacks:
            del np.trapz
        if given is None:
            del sys.modules["pkg_resources"]
        else:
            sys.modules["pkg_resources"] = given
