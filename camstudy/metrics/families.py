"""The complete registry of metrics: importing it from here has registered every family."""

from camstudy.metrics import accuracy, alignment  # noqa: F401  (importing a family registers its metrics)
from camstudy.metrics.registry import METRICS

__all__ = ["METRICS"]
