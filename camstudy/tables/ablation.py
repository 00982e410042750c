"""The table of ablations, as in CA-Stream (arXiv 2404.14996, tables 4 to 6): one thing changed at a time."""

from collections.abc import Mapping

from camstudy.analysis.summary import TableInputs
from camstudy.tables.pooling import compared
from camstudy.tables.table import Table


def ablation(inputs: TableInputs) -> Table:
    """Return a part for each title of the study's comparisons, such as `Placement`: the baseline, then its variants.

    Rows are those of the table `pooling`: what a model costs and how accurate it is, then, method by method, how
    faithful its maps are, and the differences. So a title is what is varied, and pairs of the same title share a part.
    """
    groups: dict[str, list[Mapping]] = {}
    for pair in inputs.study["comparisons"]:
        groups.setdefault(pair["title"], []).append(pair)
    return compared(inputs, "ablation", "Ablations", "Varied", groups)
