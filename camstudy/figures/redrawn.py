"""The figure of maps that are drawn again from scanpaths: NSS by number of fixations, and by size of heat."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from camstudy.analysis.significance import numbers
from camstudy.analysis.summary import TableInputs
from camstudy.core.names import CONTROL
from camstudy.figures.style import LINES, RULE, SOFT, looks, panels, remark, styled

WIDTH, HEIGHT, LEGEND, LINE = 2.5, 2.1, 1.9, 0.18  # inches of a panel; of the legend's width and of its lines' height
RATIO = 1.6  # of two sizes of heat that both have a tick


@styled()
def nss_by_fixations(inputs: TableInputs) -> Figure:
    """Return a row of two panels per model, NSS on y: on x the number of fixations that maps show, then heat's size.

    A line per method with scanpaths, with intervals as bars; all fixations with the method's own size, the end of the
    first line, are an open marker in the second. Grey lines are the study's controls of gaze.
    """
    found, models = inputs.redrawn, inputs.study["models"]
    methods = [name for name in inputs.study["methods"] if (found["method"] == name).any()]
    look, controls = looks(methods), _controls(inputs)
    height = max(0.5 + HEIGHT * len(models), 0.4 + LINE * (len(methods) + len(controls)))
    figure, axes = panels(2 * len(models), 2 * WIDTH + LEGEND, height, rows=len(models), sharey=True)
    for place, axis in enumerate(axes):
        model = models[place // 2]
        for method in methods:
            table = found[(found["model"] == model) & (found["method"] == method) & found["mean"].notna()]
            if place % 2 == 0:
                _draw(axis, table[table["own"]], "fixations", look[method])
            else:
                whole = table[table["fixations"] == table["fixations"].max()]
                _draw(axis, whole, "heat_size", look[method])
                own = whole[whole["own"]]
                open_ = {"color": look[method]["color"], "marker": look[method]["marker"], "linestyle": "none"}
                axis.plot(own["heat_size"], own["mean"], mfc="white", markersize=4.5, zorder=5, **open_)
        for value, style in zip(controls.values(), LINES, strict=False):
            axis.axhline(value, color=SOFT, linewidth=0.9, linestyle=style, zorder=1)
        axis.grid(axis="y", color=RULE, linewidth=0.4)
        axis.set_axisbelow(True)
        if place % 2 == 0:
            axis.set_title(inputs.title(model))
            axis.set_ylabel("NSS")
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            _log(axis, sorted(found["heat_size"].unique()))
            axis.tick_params(labelleft=False)
    for axis, label in zip(axes[-2:], ("fixations drawn", "size of heat"), strict=True):
        axis.set_xlabel(label)
    figure.legend(handles=_handles(inputs, look, controls), loc="outside right upper", handlelength=3, fontsize=7.5)
    remark(figure, _note(inputs))
    return figure


def _controls(inputs: TableInputs) -> dict[str, float]:
    """Return the NSS of the controls that have one, by their titles."""
    found = {inputs.method_title(name): inputs.estimate(CONTROL, name, "nss") for name in inputs.study["controls"]}
    return {title: estimate.value for title, estimate in found.items() if estimate is not None}


def _draw(axis: Axes, table: pd.DataFrame, key: str, look: Mapping[str, object]) -> None:
    table = table.sort_values(key)
    # Rounding may put an end beyond the mean.
    ends = (table["mean"] - table["ci_low"]).clip(lower=0), (table["ci_high"] - table["mean"]).clip(lower=0)
    axis.errorbar(table[key], table["mean"], yerr=ends, markersize=2.5, linewidth=0.9, elinewidth=0.6, zorder=3, **look)


def _log(axis: Axes, sizes: list[float]) -> None:
    """Put ticks at the sizes, as far as their labels have room."""
    ticks = []
    for size in sizes:
        if not ticks or size / ticks[-1] >= RATIO:
            ticks.append(size)
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xticks(ticks, [f"{size:g}" for size in ticks], fontsize=6.5)


def _handles(inputs: TableInputs, look: Mapping[str, Mapping], controls: Mapping[str, float]) -> list[Line2D]:
    small = {"linewidth": 0.9, "markersize": 3}
    lines = [Line2D([], [], label=inputs.method_title(name), **kind, **small) for name, kind in look.items()]
    grey = zip(controls, LINES, strict=False)
    return [*lines, *(Line2D([], [], label=title, color=SOFT, linewidth=0.9, linestyle=style) for title, style in grey)]


def _note(inputs: TableInputs) -> str:
    count, protocol = numbers(inputs.redrawn["n"]), inputs.protocol_title("redrawn")
    note = f"maps drawn again from scanpaths; open: the method's own size; {count} images; protocol {protocol}"
    return note + ("; simulated fixations" if inputs.dataset["human_maps"] == "simulated" else "")
