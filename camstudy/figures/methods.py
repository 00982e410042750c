"""Figures that compare explanation methods: curves of insertion and deletion, faithfulness and localisation."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.core.names import CONTROL
from camstudy.figures.pairs import ends
from camstudy.figures.style import RULE, looks, panels, remark, styled
from camstudy.metrics.families import METRICS

WIDTH, HEIGHT = 2.5, 2.3  # inches of a panel
AXES = (("average_gain", "pixel_f1"), ("insertion_auc", "box_accuracy"))


@styled()
def insertion_deletion(inputs: TableInputs) -> Figure:
    """Return a row per model with a panel for insertion and one for deletion: mean probability by share of pixels.

    A line per method and control, in the order of the study.
    """
    study = inputs.study
    figure, axes = _rows(inputs, ("insertion", "deletion"), sharex=True, sharey="row")
    curves = inputs.curves.set_index(["model", "method", "curve"]).sort_index()
    names = [*study["methods"], *study["controls"]]
    for axis, (model, curve) in zip(axes, _each(inputs, ("insertion", "deletion")), strict=True):
        for name, look in looks(names).items():
            if (model, name, curve) in curves.index:
                points = curves.loc[[(model, name, curve)]].sort_values("share")
                axis.plot(100 * points["share"], points["mean"], color=look["color"], linestyle=look["linestyle"])
        axis.set_title(curve.capitalize() if len(study["models"]) == 1 else f"{inputs.title(model)}: {curve}")
        axis.set_xlabel(f"pixels {'inserted' if curve == 'insertion' else 'deleted'} (%)")
    for axis in axes[::2]:
        axis.set_ylabel("probability of the class")
    handles = [
        Line2D([], [], label=inputs.method_title(name), color=look["color"], linestyle=look["linestyle"])
        for name, look in looks(names).items()
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=6.5, handlelength=2.6)
    remark(figure, f"protocol: {inputs.protocol_title('faithfulness')}")
    return figure


@styled()
def faithfulness_localization(inputs: TableInputs) -> Figure:
    """Return a row per model with two panels of faithfulness (x) against localisation (y), a sign per method.

    Intervals are bars. A control is tried with every model, and located once for all.
    """
    study = inputs.study
    figure, axes = _rows(inputs, AXES)
    names = [*study["methods"], *study["controls"]]
    for axis, (model, (x, y)) in zip(axes, _each(inputs, AXES), strict=True):
        for name, look in looks(names).items():
            place = CONTROL if name in study["controls"] else model
            _sign(axis, inputs.estimate(model, name, x, 100), inputs.estimate(place, name, y, 100), look)
        axis.set_xlabel(_label(x))
        axis.set_ylabel(_label(y))
        if len(study["models"]) > 1:
            axis.set_title(inputs.title(model))
    handles = [
        Line2D([], [], label=inputs.method_title(name), color=look["color"], marker=look["marker"], linestyle="none")
        for name, look in looks(names).items()
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize=6.5)
    used = ", ".join(inputs.protocol_title(family) for family in ("faithfulness", "localization"))
    remark(figure, f"protocols: {used}")
    return figure


def _rows(inputs: TableInputs, columns: Sequence, **options: object) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row per model and a panel per column, and room for a legend at the right."""
    rows = len(inputs.study["models"])
    size = (1.7 + WIDTH * len(columns), max(0.4 + HEIGHT * rows, 3.6))
    figure, axes = panels(rows * len(columns), *size, rows=rows, **options)
    for axis in axes:
        axis.grid(color=RULE, linewidth=0.4)
        axis.set_axisbelow(True)
    return figure, axes


def _each(inputs: TableInputs, columns: Sequence) -> list[tuple]:
    return [(model, column) for model in inputs.study["models"] for column in columns]


def _sign(axis: Axes, x: Estimate | None, y: Estimate | None, look: dict[str, object]) -> None:
    if x is None or y is None:
        return
    bars = {"xerr": ends(x), "yerr": ends(y), "elinewidth": 0.5}
    axis.errorbar([x.value], [y.value], fmt=look["marker"], color=look["color"], markersize=4.5, **bars)


def _label(metric: str) -> str:
    better = "higher" if METRICS[metric].direction == "up" else "lower"
    label = METRICS[metric].label
    return f"{label[0].lower()}{label[1:]} (%), {better} is better"
