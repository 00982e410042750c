"""The complete registry of metrics: importing it from here has registered every family."""

# Importing a family registers its metrics.
from camstudy.metrics import agreement, faithfulness, localization, prediction, sanity  # noqa: F401
from camstudy.metrics.registry import METRICS

__all__ = ["METRICS"]
