"""Explanation methods, one module for each family: importing this package has registered all of them.

None imports torch: methods import it when they are called.
"""

import importlib
import pkgutil

from camstudy.explain.registry import METHODS, bind

__all__ = ["METHODS", "bind"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
