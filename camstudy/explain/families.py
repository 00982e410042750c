"""The registry of explanation methods: importing it from here has registered all that explain a model.

Controls are registered by `camstudy.explain.controls`. Neither imports torch: methods import it when they are called.
"""

from camstudy.explain import (  # noqa: F401  (importing a family registers its methods)
    adapter,
    cam,
    extremal,
    fake,
    gradients,
    masking,
    opticam,
    perturbation,
)
from camstudy.explain.registry import METHODS, bind

__all__ = ["METHODS", "bind"]
