"""The alignment dot plot: how aligned each architecture is, with and without DCLS, between the controls."""

from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from camstudy.analysis.significance import marks, tested
from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.core.names import CONTROL
from camstudy.figures.about import intervals
from camstudy.figures.pairs import architectures, ends, legend_handles
from camstudy.figures.style import COLORS, RULE, SOFT, footer, panels, styled
from camstudy.figures.words import fitted

OFFSET = 0.16  # of a model from its architecture's line, so that the two intervals do not overlap
LEGEND = 0.5  # inches of the legend beyond the margins of the panels
PANEL, LETTER = 2.85, 0.058  # approximate width of a panel and of a letter of a control's label, inches
LONGEST = 24  # letters of a control's label
NARROW = 0.01  # what all values lie within if they are the same; axes are wider
TITLE = 1.4  # inches: width of titles at the left
BASELINE, VARIANT = COLORS[0], COLORS[1]


@styled()
def alignment(inputs: TableInputs) -> Figure:
    """Return a panel per method: alignment on x, architectures on y, 95 % (or the study's) intervals as bars.

    An open circle is the baseline, a filled one the DCLS variant, with the asterisks of `inputs.significance`
    after it. Controls are vertical lines with their interval as a band, labelled above.
    """
    methods, lines = inputs.study["methods"], architectures(inputs)
    compared = lines[0].variant is not None
    controls = _controls(inputs)
    across = min(len(methods), 2)
    rows = -(-len(methods) // across)
    size = (1.3 + PANEL * across, 0.6 + rows * (0.9 + 0.42 * len(lines)))
    figure, axes = panels(len(methods), *size, rows=rows, sharex=True, sharey=True)
    for axis, method in zip(axes, methods, strict=True):
        for y, line in enumerate(lines):
            up = OFFSET if compared else 0
            _dot(
                axis,
                inputs.estimate(line.baseline, method, "alignment"),
                y - up,
                BASELINE,
                filled=not compared,
            )
            if compared:
                estimate = inputs.estimate(line.variant, method, "alignment")
                _dot(axis, estimate, y + up, VARIANT, filled=True)
                mark = inputs.significance(inputs.difference(line.baseline, line.variant, method))
                if estimate and mark:
                    end = estimate.value if estimate.high is None else estimate.high
                    place = {"textcoords": "offset points", "xytext": (4, 0), "va": "center_baseline"}
                    axis.annotate(mark, (end, y + up), color=VARIANT, **place)
        axis.set_yticks(range(len(lines)), [fitted(line.title, TITLE, 8) for line in lines])
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x", color=RULE, linewidth=0.4)
        axis.set_axisbelow(True)
        axis.set_title(inputs.method_title(method))
        axis.set_xlabel("alignment with human maps (1 = human ceiling)")
    axes[0].set_ylim(len(lines) - 0.5, -0.5)
    _draw_controls(axes, inputs, controls)
    drawn = intervals(inputs, "bars and bands" if controls else "bars")
    note = "\n".join(filter(None, [_note(inputs, across) if compared else "", drawn]))
    footer(figure, legend_handles(BASELINE, VARIANT) if compared else [], note)
    return figure


def _note(inputs: TableInputs, n_panels: int) -> str:
    """Return what asterisks stand for, test, correction and levels, on lines that leave the legend its room."""
    table = inputs.comparisons[inputs.comparisons["metric"] == "alignment"]
    if table.empty:
        return ""
    letters = round((PANEL * n_panels - LEGEND) / LETTER)
    texts = (tested(inputs, table["n_tests"]), marks(inputs).partition(" (")[0])
    return "\n".join(line for text in texts for line in wrap(text, letters))


def _dot(axis: Axes, estimate: Estimate | None, y: float, color: str, filled: bool) -> None:
    if estimate is None:
        return
    face = color if filled else "white"
    axis.errorbar([estimate.value], [y], xerr=ends(estimate), fmt="o", color=color, mfc=face, mew=1.2, zorder=3)


def _controls(inputs: TableInputs) -> list[tuple[str, Estimate]]:
    """Return the controls that have a score, from low to high."""
    found = ((name, inputs.estimate(CONTROL, name, "alignment")) for name in inputs.study["controls"])
    return sorted((pair for pair in found if pair[1] is not None), key=lambda pair: pair[1].value)


def _draw_controls(axes: list[Axes], inputs: TableInputs, controls: list[tuple[str, Estimate]]) -> None:
    for axis in axes:
        for _, estimate in controls:
            if estimate.low is not None:
                axis.axvspan(estimate.low, estimate.high, color=SOFT, alpha=0.18, linewidth=0, zorder=1)
            axis.axvline(estimate.value, color=SOFT, linewidth=0.9, zorder=1.5)
    low, high = axes[0].get_xlim()
    if high - low < NARROW:
        low, high = low - NARROW, high + NARROW
        axes[0].set_xlim(low, high)
    names = [inputs.method_title(name).lower() for name, _ in controls]
    names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in names]
    centers = [(estimate.value - low) / (high - low) * PANEL for _, estimate in controls]
    levels = _levels(centers, [len(name) * LETTER for name in names])
    for axis in axes:
        for name, level, (_, estimate) in zip(names, levels, controls, strict=True):
            place = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
            text = {"xytext": (0, 4 + 9 * level), "color": SOFT, "fontsize": 7}
            axis.annotate(name, (estimate.value, 1), **place, **text)
        axis.set_title(axis.get_title(loc="left"), pad=9 + 9 * len(set(levels)))


def _levels(centers: list[float], widths: list[float]) -> list[int]:
    """Return for each label, in ascending order of its center, the lowest line on which it has room."""
    ends: list[float] = []
    levels = []
    for center, width in zip(centers, widths, strict=True):
        free = [level for level, end in enumerate(ends) if end <= center - width / 2]
        level = free[0] if free else len(ends)
        ends[level : level + 1] = [center + width / 2]
        levels.append(level)
    return levels
