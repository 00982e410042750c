"""The figures of sweeps: alignment by threshold and by stage, a panel per architecture."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.figures.pairs import Architecture, architectures, ends
from camstudy.figures.style import COLORS, LINES, RULE, SOFT, footer, panels, styled

BASELINE, VARIANT = COLORS[0], COLORS[1]
COLUMNS, WIDTH, HEIGHT = 3, 2.1, 1.75  # panels in a row; inches of each

# Method, x -> alignment of a model there.
Look = Callable[[str, str, object], Estimate | None]


@styled()
def threshold_sweep(inputs: TableInputs) -> Figure:
    """Return a panel per architecture: alignment on y, the floor on x, a line per model and place of the ReLU.

    Intervals are bands. Raw maps, without min-max and floor, stand apart at the left; a grey line marks the floor that
    Threshold-Grad-CAM has.
    """
    sweep = inputs.study["sweep"]
    methods = {sweep["relu_after_sum"]: "ReLU after sum", sweep["relu_before_sum"]: "ReLU before sum"}
    floors = sorted(floor for floor in inputs.protocol("sweep")["floors"] if floor is not None)
    own = inputs.study["catalog"]["methods"][sweep["relu_before_sum"]]["postprocess"]["floor"]
    figure, axes = _draw(inputs, methods, "floor", floors, floors, inputs.at_floor, _band)
    left, ticks = floors[0] - 0.12, floors[:: -(-len(floors) // 4)]
    for axis, line in zip(axes, architectures(inputs), strict=True):
        axis.axvline(own, color=SOFT, linewidth=0.6, linestyle=":", zorder=1)
        for model, color, filled in _models(line):
            for method, style in zip(methods, _styles(methods), strict=True):
                raw, first = (inputs.at_floor(model, method, floor) for floor in (None, floors[0]))
                if raw and first:
                    thin = {"linestyle": style, "linewidth": 0.6}
                    axis.plot([left, floors[0]], [raw.value, first.value], color=color, **thin)
                _dot(axis, left, raw, color, filled)
        axis.set_xlim(left - 0.06, floors[-1] + 0.04)
        axis.set_xticks([left, *ticks], ["raw", *(f"{floor:g}" for floor in ticks)])
    return figure


@styled()
def layer_sweep(inputs: TableInputs) -> Figure:
    """Return a panel per architecture: alignment on y, the stage on x, a line per model and method, with intervals."""
    sweep = inputs.study["layer_sweep"]
    stages = sorted(sweep["stages"], key=lambda stage: (stage < 0, stage))
    places = list(range(len(stages)))
    methods = {method: inputs.method_title(method) for method in sweep["methods"]}
    figure, axes = _draw(inputs, methods, "stage", stages, places, inputs.at_stage, _dots)
    for axis in axes:
        axis.set_xlim(-0.3, places[-1] + 0.3)
        axis.set_xticks(places, [str(stage) for stage in stages])
    return figure


def _draw(
    inputs: TableInputs, methods: dict[str, str], what: str, xs: Sequence, places: Sequence, look: Look, curve: Callable
) -> tuple[Figure, list[Axes]]:
    """Draw the curves of every architecture over ``places``, which stand for ``xs``, the labels and the legend."""
    lines = architectures(inputs)
    rows = -(-len(lines) // COLUMNS)
    columns = -(-len(lines) // rows)
    width, height = 0.5 + WIDTH * max(columns, 3), 0.9 + HEIGHT * rows
    figure, axes = panels(len(lines), width, height, rows=rows, sharex=True, sharey=True)
    for place, (axis, line) in enumerate(zip(axes, lines, strict=True)):
        for method, style in zip(methods, _styles(methods), strict=True):
            for model, color, filled in _models(line):
                estimates = zip(places, (look(model, method, x) for x in xs), strict=True)
                found = [(at, estimate) for at, estimate in estimates if estimate is not None]
                if found:
                    axis.plot(*_points(found), color=color, linestyle=style, zorder=3)
                    curve(axis, found, color, filled)
        axis.set_title(line.title)
        axis.grid(color=RULE, linewidth=0.4)
        axis.set_axisbelow(True)
        if place % columns == 0:
            axis.set_ylabel("alignment")
        if place + columns >= len(lines):  # the lowest of its column
            axis.set_xlabel(what)
            axis.tick_params(labelbottom=True)
    footer(figure, [*_model_handles(lines), *_method_handles(methods)], "alignment: 1 = human ceiling")
    return figure, axes


def _models(line: Architecture) -> list[tuple[str, str, bool]]:
    """Return the models of an architecture with their colours and whether their dots are filled."""
    if line.variant is None:
        return [(line.baseline, BASELINE, True)]
    return [(line.baseline, BASELINE, False), (line.variant, VARIANT, True)]


def _styles(methods: Sequence) -> list:
    return [LINES[index % len(LINES)] for index in range(len(methods))]


def _points(found: Sequence[tuple[float, Estimate]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in found], [estimate.value for _, estimate in found]


def _band(axis: Axes, found: Sequence[tuple[float, Estimate]], color: str, _filled: bool) -> None:
    xs, values = _points(found)
    below, above = zip(*((low[0], high[0]) for low, high in (ends(estimate) for _, estimate in found)), strict=True)
    lows, highs = np.subtract(values, below), np.add(values, above)
    axis.fill_between(xs, lows, highs, color=color, alpha=0.15, linewidth=0, zorder=2)


def _dots(axis: Axes, found: Sequence[tuple[float, Estimate]], color: str, filled: bool) -> None:
    for x, estimate in found:
        _dot(axis, x, estimate, color, filled)


def _dot(axis: Axes, x: float, estimate: Estimate | None, color: str, filled: bool) -> None:
    if estimate is None:
        return
    look = {"color": color, "mfc": color if filled else "white", "mew": 1, "markersize": 3.5, "elinewidth": 0.8}
    axis.errorbar([x], [estimate.value], yerr=ends(estimate), fmt="o", zorder=4, **look)


def _model_handles(lines: Sequence[Architecture]) -> list[Line2D]:
    if lines[0].variant is None:
        return []
    look = {"marker": "o", "markersize": 3.5}
    return [
        Line2D([], [], label="baseline", color=BASELINE, markerfacecolor="white", **look),
        Line2D([], [], label="DCLS", color=VARIANT, **look),
    ]


def _method_handles(methods: dict[str, str]) -> list[Line2D]:
    titles = zip(methods.values(), _styles(methods), strict=True)
    return [Line2D([], [], label=title, color=SOFT, linestyle=style) for title, style in titles]
