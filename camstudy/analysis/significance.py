"""What p-values and their marks stand for, in words that tables and figures share."""

from collections.abc import Iterable

import pandas as pd

from camstudy.analysis.summary import TableInputs


def numbers(counts: pd.Series) -> str:
    """Return a number, or the smallest and largest where they differ."""
    found = sorted({int(count) for count in counts.dropna()})
    if not found:
        return "no"
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def tested(inputs: TableInputs, counts: Iterable[int]) -> str:
    """Say which test p-values come from and for how many tests they are corrected; without the final stop."""
    tests = numbers(counts)
    correction = {
        "holm": f"Holm-corrected for {tests} tests",
        "benjamini_hochberg": f"Benjamini-Hochberg-corrected for {tests} tests",
        "none": f"not corrected for {tests} tests",
    }
    chosen = correction[inputs.study["statistics"]["correction"]]
    of = " of the means of images" if inputs.dataset.get("images") is not None else ""
    return f"p: Wilcoxon signed-rank test{of} (two-sided, zeros by Pratt), {chosen}"


def marks(inputs: TableInputs) -> str:
    """Say what asterisks stand for, and what where test and interval disagree; without the final stop."""
    found = [f"{'*' * (n + 1)} p < {level:g}" for n, level in enumerate(inputs.levels())]
    which = "whatever the interval says" if inputs.by_test_alone() else "and the interval excludes 0"
    return f"Marks: {', '.join(found)}, {which} (the test is of ranks, the interval of the mean: they may disagree)"
