"""The registry of metrics: a name, a pure function, and the facts that tables and documentation print."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from camstudy.registry import Registry


@dataclass(frozen=True)
class Metric:
    """What is known of a metric; its formula and edge cases are in the function's docstring."""

    name: str
    function: Callable
    family: str  # file of per-image scores it belongs to: "agreement", "prediction", ...
    direction: Literal["up", "down"]  # which way is better
    range: tuple[float, float]
    level: Literal["image", "dataset"]  # one value per image, or one for the whole dataset
    label: str  # column title in tables
    source: str
    needs: tuple[str, ...]  # what its positional arguments are, in order


METRICS: Registry[Metric] = Registry("metric", Metric)


def image_metrics(family: str) -> list[Metric]:
    """Return a family's metrics that give one value per image, in the order of registration."""
    return [metric for metric in METRICS.values() if metric.family == family and metric.level == "image"]
