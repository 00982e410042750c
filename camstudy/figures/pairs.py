"""What the score figures plot: each architecture's estimates, with and without DCLS."""

from dataclasses import dataclass

from matplotlib.lines import Line2D

from camstudy.analysis.summary import Estimate, TableInputs


@dataclass(frozen=True)
class Architecture:
    """A line of a figure: its title, its model, and the DCLS variant if it is compared with one."""

    title: str
    baseline: str
    variant: str | None = None


def architectures(inputs: TableInputs) -> list[Architecture]:
    """Return the study's comparisons; if it compares nothing, its models, without variants."""
    pairs = inputs.study["comparisons"]
    if pairs:
        return [Architecture(pair["title"], pair["baseline"], pair["variant"]) for pair in pairs]
    return [Architecture(inputs.title(model), model) for model in inputs.study["models"]]


def ends(estimate: Estimate) -> list[list[float]]:
    """Return the lengths of an estimate's error bar as matplotlib wants them; none without an interval."""
    if estimate.low is None:
        return [[0.0], [0.0]]
    return [[max(0.0, estimate.value - estimate.low)], [max(0.0, estimate.high - estimate.value)]]


def legend_handles(baseline: str, variant: str) -> list[Line2D]:
    """Return the legend's signs in these colours: an open circle for a baseline, a filled one for DCLS."""
    style = {"marker": "o", "linestyle": "none", "markeredgewidth": 1.2}
    return [
        Line2D([], [], label="baseline", color=baseline, markerfacecolor="white", **style),
        Line2D([], [], label="DCLS", color=variant, **style),
    ]
