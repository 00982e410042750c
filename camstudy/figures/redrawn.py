"""The figure of maps that are drawn again from scanpaths: NSS by number of fixations, and by size of heat."""

import re
from collections.abc import Iterator, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator

from camstudy.analysis.significance import numbers
from camstudy.analysis.summary import TableInputs
from camstudy.core.names import CONTROL
from camstudy.figures.style import COLORS, COLUMN, LINES, MARKERS, RULE, SOFT, TALL, TEXT, looks, panels, remark, styled

WIDTH, HEIGHT, LEGEND, LINE = 2.5, 2.1, 1.9, 0.18  # inches of a panel; of the legend's width and of its lines' height
RATIO = 1.6  # of two sizes of heat that both have a tick
MOST = len(COLORS)  # lines of a panel that can be told apart


@styled()
def nss_by_fixations(inputs: TableInputs) -> Figure:
    """Return two panels per model, NSS on y: on x the number of fixations that maps show, then heat's size.

    A line per method with scanpaths, with intervals as bars; all fixations with the method's own size, the end of the
    first line, are an open marker in the second. Grey lines are the study's controls of gaze. More methods than colors
    are drawn as wide as a column, a row for each `groups` of them, with what they are variants of in black.
    """
    found, models = inputs.redrawn, inputs.study["models"]
    methods = [name for name in inputs.study["methods"] if (found["method"] == name).any()]
    if len(methods) > MOST:
        return _grouped(inputs, methods)
    look, controls = looks(methods), _controls(inputs)
    height = max(0.5 + HEIGHT * len(models), 0.4 + LINE * (len(methods) + len(controls)))
    figure, axes = panels(2 * len(models), 2 * WIDTH + LEGEND, height, rows=len(models), sharey=True)
    for model, left, right in zip(models, axes[::2], axes[1::2], strict=True):
        _pair(inputs, model, look, (left, right))
        left.set_title(inputs.title(model))
        left.set_ylabel("NSS")
    for axis, label in zip(axes[-2:], ("fixations drawn", "size of heat"), strict=True):
        axis.set_xlabel(label)
    figure.legend(handles=_handles(inputs, look, controls), loc="outside right upper", handlelength=3, fontsize=7.5)
    remark(figure, _note(inputs))
    return figure


def _grouped(inputs: TableInputs, methods: Sequence[str]) -> Figure:
    """Return the figure of many methods: a row of two panels for each group and model, its legend beside it."""
    models, titles = inputs.study["models"], {name: inputs.method_title(name) for name in methods}
    found = list(groups(titles))
    rows = [(model, whole, group) for model in models for whole, group in found]
    height = min(0.6 + 1.35 * len(rows), TALL * len(models))
    figure, axes = panels(2 * len(rows), COLUMN, height, rows=len(rows), sharex="col", sharey=True)
    figure.get_layout_engine().set(hspace=0.02, w_pad=0.02, h_pad=0.02)
    for number, (model, whole, group) in enumerate(rows):
        left, right = axes[2 * number : 2 * number + 2]
        look = {} if whole is None else {whole: {"color": TEXT, "linestyle": "-", "marker": MARKERS[0]}}
        look |= looks(group)
        _pair(inputs, model, look, (left, right), ticks=4, ratio=3.1)
        labels = {name: _short(titles[name], None if whole is None else titles[whole]) for name in look}
        handles = [
            Line2D([], [], label=labels[name], linewidth=0.9, markersize=3, **kind) for name, kind in look.items()
        ]
        beside = {"loc": "center left", "bbox_to_anchor": (1.02, 0.5), "borderaxespad": 0, "handlelength": 2}
        right.legend(handles=handles, fontsize=6.5, **beside)
        left.set_ylabel("NSS")
        if len(models) > 1 and number % len(found) == 0:
            left.set_title(inputs.title(model))
    for axis, label in zip(axes[-2:], ("fixations drawn", "size of heat"), strict=True):
        axis.set_xlabel(label)
    grey = _handles(inputs, {}, _controls(inputs))
    if grey:
        figure.legend(handles=grey, loc="outside upper left", ncols=len(grey), fontsize=6.5, handlelength=2.5)
    remark(figure, _note(inputs))
    return figure


def groups(titles: Mapping[str, str]) -> Iterator[tuple[str | None, list[str]]]:
    """Yield what methods are variants of, or None, and those that differ from it in one thing, up to `MOST`.

    Told by the titles: those that are equal but for numbers belong together, as do those with no such fellow. What the
    titles of a group all begin with, if it is a method's title, is what they are variants of.

    >>> list(groups({"a": "Eye", "b": "Eye (blur 1)", "c": "Eye (blur 2)", "d": "Eye (fast)"}))
    [('a', ['b', 'c']), ('a', ['d'])]
    """
    kinds: dict[str, list[str]] = {}
    for name, title in titles.items():
        kinds.setdefault(re.sub(r"[\d.]+", "#", title), []).append(name)
    alone = [names[0] for names in kinds.values() if len(names) == 1]
    for names in (*(names for names in kinds.values() if len(names) > 1), alone):
        wholes = [one for one in alone if all(titles[name].startswith(titles[one]) for name in names)]
        wholes = wholes or [one for one in alone if sum(titles[name].startswith(titles[one]) for name in titles) > 1]
        whole = wholes[0] if wholes else None
        own = [name for name in names if name != whole]
        for start in range(0, len(own), MOST):
            yield whole, own[start : start + MOST]


def _short(title: str, whole: str | None) -> str:
    """Return a title without that of which it is a variant: of `FovEx (blur 5)` what is in parentheses."""
    rest = title.removeprefix(whole or "").strip()
    return rest.removeprefix("(").removesuffix(")") if whole and rest.startswith("(") else title


def _pair(
    inputs: TableInputs,
    model: str,
    look: Mapping[str, Mapping],
    axes: tuple[Axes, Axes],
    *,
    ticks: int | str = "auto",
    ratio: float = RATIO,
) -> None:
    """Draw a model's methods: NSS by the number of fixations, and by the size of heat."""
    found, (left, right) = inputs.redrawn, axes
    for method, style in look.items():
        table = found[(found["model"] == model) & (found["method"] == method) & found["mean"].notna()]
        _draw(left, table[table["own"]], "fixations", style)
        whole = table[table["fixations"] == table["fixations"].max()]
        _draw(right, whole, "heat_size", style)
        own = whole[whole["own"]]
        open_ = {"color": style["color"], "marker": style["marker"], "linestyle": "none"}
        right.plot(own["heat_size"], own["mean"], mfc="white", markersize=4.5, zorder=5, **open_)
    for axis in axes:
        for value, style in zip(_controls(inputs).values(), LINES, strict=False):
            axis.axhline(value, color=SOFT, linewidth=0.9, linestyle=style, zorder=1)
        axis.grid(axis="y", color=RULE, linewidth=0.4)
        axis.set_axisbelow(True)
    left.xaxis.set_major_locator(MaxNLocator(ticks, integer=True))
    _log(right, sorted(found["heat_size"].unique()), ratio)
    right.tick_params(labelleft=False)


def _controls(inputs: TableInputs) -> dict[str, float]:
    """Return the NSS of the controls that have one, by their titles."""
    found = {inputs.method_title(name): inputs.estimate(CONTROL, name, "nss") for name in inputs.study["controls"]}
    return {title: estimate.value for title, estimate in found.items() if estimate is not None}


def _draw(axis: Axes, table: pd.DataFrame, key: str, look: Mapping[str, object]) -> None:
    table = table.sort_values(key)
    # Rounding may put an end beyond the mean.
    ends = (table["mean"] - table["ci_low"]).clip(lower=0), (table["ci_high"] - table["mean"]).clip(lower=0)
    axis.errorbar(table[key], table["mean"], yerr=ends, markersize=2.5, linewidth=0.9, elinewidth=0.6, zorder=3, **look)


def _log(axis: Axes, sizes: list[float], ratio: float) -> None:
    """Put ticks at the sizes, as far as their labels have room."""
    ticks = []
    for size in sizes:
        if not ticks or size / ticks[-1] >= ratio:
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
