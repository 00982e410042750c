"""The registry of explanation methods: importing it from here has registered all that explain a model.

Controls are registered by `camstudy.explain.controls`. Neither imports torch.
"""

from camstudy.explain import cam  # noqa: F401  (importing a family registers its methods)
from camstudy.explain.registry import METHODS, bind

__all__ = ["METHODS", "bind"]
