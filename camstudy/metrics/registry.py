"""The registry of metrics: a name, a pure function, and the facts that tables and documentation print."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.registry import Registry


@dataclass(frozen=True)
class Metric:
    """What is known of a metric; its formula and edge cases are in the function's docstring.

    docs/metrics.md is made of both (`camstudy.study.metrics_reference`). Keyword-only arguments are the metric's
    parameters.
    """

    name: str
    function: Callable
    family: str  # file of per-image scores it belongs to: "agreement", "prediction", ...
    direction: Literal["up", "down"]  # which way is better
    range: tuple[float, float]
    level: Literal["image", "dataset"]  # one value per image, or one for the whole dataset
    label: str  # column title in tables
    source: str
    needs: tuple[str, ...]  # what its positional arguments are, in order
    unit: Literal["1", "%", "nat", "bit"] = "1"  # in tables; "%": they print 100 times the value, which is a share
    partial: bool = False  # whether it may be missing (NaN) for an image, which then does not count

    @property
    def parameters(self) -> dict[str, object]:
        """Names of the function's keyword-only arguments and their defaults."""
        arguments = inspect.signature(self.function).parameters.values()
        return {argument.name: argument.default for argument in arguments if argument.kind is argument.KEYWORD_ONLY}


METRICS: Registry[Metric] = Registry("metric", Metric)


def image_metrics(family: str) -> list[Metric]:
    """Return a family's metrics that give one value per image, in the order of registration."""
    return [metric for metric in METRICS.values() if metric.family == family and metric.level == "image"]


def score_family(
    family: str,
    evidence: Mapping[str, np.ndarray],
    parameters: Mapping[str, Mapping[str, object]] | None = None,
    metrics: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Return a family's per-image metrics, as arrays (n,) by name.

    Parameters
    ----------
    family : of the metrics
    evidence : their positional arguments, by the names that `Metric.needs` gives them
    parameters : their keyword arguments, by the name of the metric
    metrics : those that a protocol lists, in its order; None takes all that the evidence suffices for. Those of a whole
        dataset are passed over: they are made when scores are aggregated.

    Raises `CamstudyError` for a metric in ``metrics`` whose evidence is missing.
    """
    own = {metric.name: metric for metric in image_metrics(family)}
    if metrics is None:
        metrics = [name for name, metric in own.items() if evidence.keys() >= set(metric.needs)]
    scores, given = {}, parameters or {}
    for metric in (own[name] for name in metrics if name in own):
        if missing := [need for need in metric.needs if need not in evidence]:
            raise CamstudyError(
                f"metric `{metric.name}` needs {', '.join(missing)}, and there is {', '.join(evidence)} here; take it "
                "out of the protocol's `metrics`"
            )
        arguments = (evidence[need] for need in metric.needs)
        scores[metric.name] = metric.function(*arguments, **given.get(metric.name, {}))
    return scores
