"""Cost against alignment: what DCLS does to both, an arrow per architecture."""

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.figures.arrows import PANEL, draw, label
from camstudy.figures.pairs import architectures, legend_handles
from camstudy.figures.style import SOFT, footer, panels, styled


@styled()
def alignment_cost(inputs: TableInputs) -> Figure:
    """Return a row of two panels per method: alignment on y, multiply-adds and images per second (log scale) on x.

    Multiply-adds are those of dense kernels, which run; speeds those of folded models, on the device named below. An
    arrow leads from the baseline (open) to its DCLS variant (filled).
    """
    lines, methods = architectures(inputs), inputs.study["methods"]
    quantities = {
        "multiply-adds (G), dense kernels": lambda record: record["multiply_adds"]["dense"] / 1e9,
        "images per second, folded": lambda record: record["images_per_second"]["folded"],
    }
    size = (0.6 + PANEL * 2, 0.5 + len(methods) * (0.4 + 0.78 * PANEL))
    figure, axes = panels(2 * len(methods), *size, rows=len(methods), sharex="col", sharey=True)
    for axis, (name, number, method) in zip(axes, ((*q, m) for m in methods for q in quantities.items()), strict=True):
        axis.set_xscale("log")
        draw(
            axis,
            lines,
            lambda model, number=number: Estimate(number(inputs.cost[model])),
            lambda model, method=method: inputs.estimate(model, method, "alignment"),
        )
        axis.set_title(inputs.method_title(method))
        axis.set_xlabel(name)
        axis.tick_params(labelbottom=True)
        low, high = axis.get_xlim()
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)) if high > 4 * low else MaxNLocator(5))
        axis.xaxis.set_major_formatter("{x:,g}")
        axis.xaxis.set_minor_locator(NullLocator())
    figure.supylabel("alignment with human maps (1 = human ceiling)", fontsize=8)
    devices = "; ".join(dict.fromkeys(f"{r['device']}, batches of {r['batch_size']}" for r in inputs.cost.values()))
    footer(figure, legend_handles(SOFT, SOFT) if lines[0].variant else [], f"images per second: {devices}")
    label(figure, axes, [line.title for line in lines])
    return figure
