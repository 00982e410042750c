"""What a study says of its primary metric: every comparison with its difference, interval and corrected p-value."""

from dataclasses import dataclass

import pandas as pd

from camstudy.analysis.summary import finite


@dataclass(frozen=True)
class Finding:
    """A comparison in one metric: the mean of variant minus baseline over the images that both were scored on.

    ``difference`` and its interval ``low`` to ``high`` are in the unit of the long table; ``p`` is that of the paired
    test, ``p_corrected`` corrected over ``n_tests``; ``n`` counts the images, ``n_degenerate`` those with a degenerate
    map of either model. What cannot be told is None.
    """

    baseline: str
    variant: str
    method: str
    protocol: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_corrected: float | None
    n: int
    n_tests: int
    n_degenerate: int = 0


def findings(comparisons: pd.DataFrame, metric: str) -> list[Finding]:
    """Return the comparisons in a metric, in the order of the table; none for metrics of a whole dataset.

    ``comparisons`` is the long table of that name, with the columns `camstudy.analysis.aggregate.COMPARISONS`.
    """
    found = []
    for row in comparisons[comparisons["metric"] == metric].itertuples():
        numbers = (row.difference, row.ci_low, row.ci_high, row.p, row.p_corrected)
        names = (row.baseline, row.variant, row.method, row.protocol, row.metric)
        found.append(Finding(*names, *map(finite, numbers), int(row.n), int(row.n_tests), int(row.n_degenerate)))
    return found
