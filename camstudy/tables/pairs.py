"""Rows of differences between two models, on the same images, and what readers are told of them."""

from collections.abc import Iterator, Mapping, Sequence

from camstudy.analysis import significance
from camstudy.analysis.summary import TableInputs
from camstudy.metrics.families import METRICS
from camstudy.tables.metrics import scale
from camstudy.tables.table import Column, Row


def p_columns(metric: str) -> Iterator[Column]:
    """Yield the columns of the p-values of a metric's differences, plain and corrected, for the CSV."""
    yield from (Column(f"{metric}_{key}", format="p", shown=False) for key in ("p", "p_corrected"))


def minus(inputs: TableInputs, pair: Mapping) -> str:
    """Return what is subtracted from what in a comparison."""
    return f"{inputs.title(pair['variant'])} − {inputs.title(pair['baseline'])}"


def difference_row(
    inputs: TableInputs, names: Mapping, pair: Mapping, method: str, metrics: Sequence[str]
) -> Row | None:
    """Return variant minus baseline, metric by metric, with p-values and marks; None where nothing is compared.

    ``names`` are the cells that say what the row is about.
    """
    cells, marks, shown = {}, {}, []
    for metric in metrics:
        found = inputs.difference(pair["baseline"], pair["variant"], method, metric, scale=scale(METRICS[metric]))
        if found is not None:
            cells |= {metric: found.estimate, f"{metric}_p": found.p, f"{metric}_p_corrected": found.p_corrected}
            shown.append(metric)
            if mark := inputs.significance(found):
                marks[metric] = mark
    return Row({**names, **cells}, marks, differences=frozenset(shown)) if shown else None


def told(inputs: TableInputs, metrics: Sequence[str]) -> Iterator[str]:
    """Yield what the rows of differences are, the test behind their marks, and which metrics have none."""
    pairs = [(pair["baseline"], pair["variant"]) for pair in inputs.study["comparisons"]]
    if not pairs or inputs.comparisons.empty:
        return
    table = inputs.comparisons[inputs.comparisons["metric"].isin(metrics)]
    table = table[[pair in pairs for pair in zip(table["baseline"], table["variant"], strict=True)]]
    if table.empty:
        return
    test = significance.tested(inputs, table["n_tests"])
    yield f"Rows with a minus: paired differences, mean over the same images, with intervals; {test} of each metric."
    yield f"{significance.marks(inputs)}."
    scored = set(inputs.scores["metric"])
    if whole := [METRICS[name].label for name in metrics if name in scored and METRICS[name].level != "image"]:
        yield f"Of the whole dataset, and not compared image by image: {', '.join(whole)}."
