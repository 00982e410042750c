"""What is left of a method's maps as the model is randomised from the top, a panel per model."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camstudy.analysis.summary import TableInputs
from camstudy.figures.style import RULE, SOFT, looks, panels, remark, styled

COLUMNS, WIDTH, ALONE, HEIGHT = 2, 2.2, 4.2, 2.6  # panels in a row; inches of each, and of the width of a single one
LEGEND, LINE = 1.9, 0.18  # inches: width of the legend, height of its lines
SPREAD, STEP = 0.5, 0.06  # of error bars around a step, which is 1 wide, and at most from one method to the next
LONGEST = 14  # characters of a part's name


@styled()
def randomization(inputs: TableInputs) -> Figure:
    """Return a panel per model: the rank correlation with the trained model's maps on y, the step on x.

    A line per method, with intervals as bars, which stand side by side. At x = 0 is the trained model; each step
    randomises the part that it is named by, after its uppermost module, and all before it.
    """
    models, methods = inputs.study["models"], inputs.study["methods"]
    look = looks(methods)
    rows = -(-len(models) // COLUMNS)
    columns = -(-len(models) // rows)
    width = 0.6 + (WIDTH * columns if columns > 1 else ALONE) + LEGEND
    height = max(0.4 + HEIGHT * rows, 0.3 + LINE * len(methods))
    figure, axes = panels(len(models), width, height, rows=rows, sharey=True)
    for place, (axis, model) in enumerate(zip(axes, models, strict=True)):
        table = inputs.steps[inputs.steps["model"] == model]
        for index, method in enumerate(methods):
            shift = min(STEP, SPREAD / len(methods)) * (index - (len(methods) - 1) / 2)
            _draw(axis, table[table["method"] == method].sort_values("step"), shift, look[method])
        _name_steps(axis, table)
        axis.set_title(inputs.title(model))
        axis.axhline(0, color=SOFT, linewidth=0.6, zorder=1)
        axis.grid(axis="y", color=RULE, linewidth=0.4)
        axis.set_axisbelow(True)
        if place % columns == 0:
            axis.set_ylabel("Spearman correlation with\nthe trained model's map")
        if place % columns:
            axis.tick_params(labelleft=False)
    small = {"linewidth": 0.9, "markersize": 3}
    handles = [Line2D([], [], label=inputs.method_title(method), **look[method], **small) for method in methods]
    figure.legend(handles=handles, loc="outside right upper", handlelength=3, fontsize=7.5)
    remark(figure, _note(inputs))
    return figure


def _note(inputs: TableInputs) -> str:
    table = inputs.steps[inputs.steps["step"] > 0]
    count = " to ".join(f"{n:g}" for n in sorted({table["n"].min(), table["n"].max()}))
    note = (
        f"parts randomised from the top, each with those before it; {count} images; {inputs.protocol_title('sanity')}"
    )
    if degenerate := table["n_degenerate"].sum():
        fate = "counted as 0" if inputs.study["degenerate"] == "score" else "left out"
        note += f"; {degenerate:,} correlations of constant or non-finite maps {fate}"
    return note


def _draw(axis: Axes, table: pd.DataFrame, shift: float, look: Mapping[str, object]) -> None:
    table = table[table["mean"].notna()]
    # The trained models' dots, which coincide, need not stand side by side.
    x, y = table["step"] + shift * (table["step"] > 0), table["mean"]
    # Rounding may put an end beyond the mean.
    ends = (y - table["ci_low"]).clip(lower=0), (table["ci_high"] - y).clip(lower=0)
    axis.errorbar(x, y, yerr=ends, markersize=2.5, linewidth=0.9, elinewidth=0.6, zorder=3, **look)


def _name_steps(axis: Axes, table: pd.DataFrame) -> None:
    names = table.drop_duplicates("step").sort_values("step")
    axis.set_xticks(names["step"], [_short(name) for name in names["name"]], rotation=90, fontsize=6.5)
    axis.margins(x=0.03)


def _short(name: str) -> str:
    """Return a part's path without the word for its blocks, and with its end alone if it is still too long.

    Of several modules, the first and the last are below each other.
    """
    ends = [end.replace(".blocks.", ".") for end in name.split(" to ")]
    return " to\n".join(end if len(end) <= LONGEST else f"…{end[1 - LONGEST :]}" for end in ends)
