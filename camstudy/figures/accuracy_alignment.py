"""Accuracy against alignment: what DCLS does to both, an arrow per architecture."""

from matplotlib.figure import Figure

from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.core.errors import CamstudyError
from camstudy.figures.about import intervals
from camstudy.figures.arrows import PANEL, draw, label
from camstudy.figures.pairs import architectures, legend_handles
from camstudy.figures.style import SOFT, footer, panels, styled


@styled()
def accuracy_alignment(inputs: TableInputs) -> Figure:
    """Return a panel per method: top-1 accuracy on x, alignment on y, confidence intervals as bars.

    An arrow leads from the baseline (open) to its DCLS variant (filled). Architectures without accuracy are
    left out and named below the panels.

    Raises
    ------
    CamstudyError
        if no model has an accuracy.
    """
    lines = architectures(inputs)
    shown = [line for line in lines if _accuracy(inputs, line.baseline) or _accuracy(inputs, line.variant)]
    if not shown:
        raise CamstudyError("figures: `accuracy_alignment` needs accuracies, but no model of the study has one")
    methods = inputs.study["methods"]
    across = min(len(methods), 2)
    rows = -(-len(methods) // across)
    size = (0.6 + PANEL * across, 0.5 + rows * (0.4 + 0.95 * PANEL))
    figure, axes = panels(len(methods), *size, rows=rows, sharex=True, sharey=True)
    for axis, method in zip(axes, methods, strict=True):
        draw(
            axis,
            shown,
            lambda model: _accuracy(inputs, model),
            lambda model, method=method: inputs.estimate(model, method, "alignment"),
        )
        axis.set_title(inputs.method_title(method))
        axis.set_xlabel("top-1 accuracy (%)")
    for axis in axes[::across]:
        axis.set_ylabel("alignment with human maps (1 = human ceiling)")
    missing = [line.title for line in lines if line not in shown]
    note = intervals(inputs, "bars") + (f"\nno accuracy: {', '.join(missing)}" if missing else "")
    footer(figure, legend_handles(SOFT, SOFT) if lines[0].variant else [], note)
    label(figure, axes, [line.title for line in shown])
    return figure


def _accuracy(inputs: TableInputs, model: str | None) -> Estimate | None:
    return inputs.estimate(model, "", "top1", scale=100) if model else None
