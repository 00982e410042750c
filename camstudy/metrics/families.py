"""The complete registry of metrics: importing it from here has registered those of every family."""

from importlib import import_module

from camstudy.metrics.registry import METRICS
from camstudy.metrics.scoring import FAMILIES

__all__ = ["METRICS"]

# Those of predictions are of networks, not of maps.
for _module in [*(f.metrics for f in FAMILIES.values() if f.metrics), "prediction", "average_precision"]:
    import_module(f"camstudy.metrics.{_module}")
