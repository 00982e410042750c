"""The table of randomisation: how much of each method's maps is left as networks forget what they learnt."""

from collections.abc import Iterator

import pandas as pd

from camstudy.analysis import significance
from camstudy.analysis.summary import NOISE, Estimate, TableInputs
from camstudy.tables import notes
from camstudy.tables.table import Column, Row, Table

MEANS = {"": "randomization_spearman", "_absolute": "randomization_spearman_absolute"}


def sanity(inputs: TableInputs) -> Table:
    """Return a row per model and step of randomisation, and one of the mean over steps; a column per method.

    Values are rank correlations with the trained network's maps. Where a method's maps have signs, those of magnitudes
    stand beside; the CSV has both in any case.
    """
    study, steps = inputs.study, inputs.steps[inputs.steps["step"] > 0]
    # Not every method can explain every model.
    methods = [name for name in study["methods"] if (steps["method"] == name).any()]
    rows = [row for model in study["models"] for row in _rows(inputs, steps, model, methods)]
    several = len(study["models"]) > 1
    of = "" if several else f" of {inputs.title(study['models'][0])}"
    return Table(
        name="sanity",
        caption=f"What is left of maps{of} as weights are randomised from the top, on {inputs.dataset['dataset']}.",
        columns=(
            # Wide tables are printed in pieces, of which the first column alone names the rows.
            Column("title", "Model, randomised part" if several else "Randomised part"),
            *(Column(key, shown=False) for key in ("model", "step", "name")),
            *(column for method in methods for column in _columns(inputs, steps, method)),
        ),
        rows=tuple(rows),
        notes=tuple(_notes(inputs, steps, methods)),
    )


def _columns(inputs: TableInputs, steps: pd.DataFrame, method: str) -> Iterator[Column]:
    of_method = steps[steps["method"] == method]
    signed = bool(((of_method["mean"] - of_method["absolute"]).abs() > NOISE).any())
    title = inputs.method_title(method)
    header, group = ("Signed", title) if signed else (title, "")
    yield Column(method, header, group, "score", interval=True)
    yield Column(f"{method}_absolute", "Magnitudes", group, "score", shown=signed, interval=True)
    yield from (Column(f"{method}_{count}", format="count", shown=False) for count in ("n", "n_degenerate"))


def _rows(inputs: TableInputs, steps: pd.DataFrame, model: str, methods: list[str]) -> Iterator[Row]:
    found = steps[steps["model"] == model]
    prefix = f"{inputs.title(model)}, " if len(inputs.study["models"]) > 1 else ""
    for step, name in found.drop_duplicates("step").sort_values("step")[["step", "name"]].itertuples(index=False):
        cells = {"kind": model, "title": f"{prefix}{step}: {name}", "model": model, "step": int(step), "name": name}
        for row in found[(found["step"] == step) & found["method"].isin(methods)].itertuples():
            cells[row.method] = Estimate.of(row.mean, row.ci_low, row.ci_high)
            cells[f"{row.method}_absolute"] = Estimate.of(row.absolute, row.absolute_low, row.absolute_high)
            cells |= {f"{row.method}_n": int(row.n), f"{row.method}_n_degenerate": int(row.n_degenerate)}
        yield Row(cells)
    cells = {"kind": model, "title": f"{prefix}mean over steps", "model": model}
    for method in methods:
        for end, metric in MEANS.items():
            if (estimate := inputs.estimate(model, method, metric)) is not None:
                cells[f"{method}{end}"] = estimate
    if len(cells) > 3:
        yield Row(cells)


def _notes(inputs: TableInputs, steps: pd.DataFrame, methods: list[str]) -> Iterator[str]:
    entry = inputs.protocol("sanity")
    yield (
        f"Dataset: {inputs.dataset['dataset']}, {significance.numbers(steps['n'])} images. Protocol: "
        f"{inputs.protocol_title('sanity')}, seed {entry['seed']}. Metrics are defined in docs/metrics.md."
    )
    yield (
        "Spearman's rank correlation of a map with that of the trained network, of the same image and class, mean over "
        "images: 1 where the order of all places is the same. What shows the network, and not the image alone, comes "
        "near 0."
    )
    yield (
        "Each step randomises the part that it is named by, from its uppermost module to its lowest, beside those of "
        "the steps before it; the last one leaves no weight as it was trained."
    )
    if any(column.group for method in methods for column in _columns(inputs, steps, method)):
        yield "Magnitudes: of absolute values, for which a mere change of sign is none."
    yield from notes.targets(inputs, methods)
    counts = steps.groupby(["model", "method"], sort=False, as_index=False)["n_degenerate"].sum()
    yield notes.degenerate(inputs, counts, scored="scored as 0, of all steps together")
    yield notes.intervals(inputs)
