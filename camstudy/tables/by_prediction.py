"""The table of right and wrong predictions: how maps are where a network errs, and where two networks are right."""

from collections.abc import Iterator

from camstudy.analysis import significance
from camstudy.analysis.summary import Difference, Estimate, TableInputs, finite
from camstudy.metrics.families import METRICS
from camstudy.tables import notes, pairs
from camstudy.tables.methods import FAITHFULNESS
from camstudy.tables.metrics import heading, scale
from camstudy.tables.table import Column, Format, Row, Table

ALIGNMENT = "alignment"
PARTS = {"right": "Right", "wrong": "Wrong"}


def by_prediction(inputs: TableInputs) -> Table:
    """Return a row per model and method: alignment and faithfulness of images classified rightly, and wrongly.

    A row per comparison and method has the difference of the two models on the images that both classify rightly, in
    the columns of these, with intervals and marks.
    """
    scored = set(inputs.by_prediction["metric"])
    metrics = [name for name in (ALIGNMENT, *FAITHFULNESS) if name in scored]
    rows = []
    for model in inputs.study["models"]:
        rows += [_row(inputs, model, method, metrics) for method in inputs.study["methods"]]
        rows += _differences(inputs, model, metrics)
    several = len(inputs.study["models"]) > 1
    of = "" if several else f", {inputs.title(inputs.study['models'][0])}"
    return Table(
        name="by_prediction",
        caption=f"Explanations by right and wrong prediction{of} on {inputs.dataset['dataset']}.",
        columns=tuple(_columns(metrics, several)),
        # Not every method can explain every model.
        rows=tuple(row for row in rows if row is not None),
        notes=tuple(_notes(inputs, metrics)),
    )


def _columns(metrics: list[str], several: bool) -> Iterator[Column]:
    # Wide tables are printed in pieces, of which the first column alone names the rows.
    yield Column("title", "Model, method" if several else "Method")
    yield from (Column(key, shown=False) for key in ("model", "method", "baseline"))
    yield from (Column(f"n_{part}", header, "Images", "count") for part, header in PARTS.items())
    for metric in metrics:
        form: Format = "percent" if metric != ALIGNMENT and METRICS[metric].unit == "%" else "score"
        title = "Alignment ↑" if metric == ALIGNMENT else heading(METRICS[metric])
        for part, header in PARTS.items():
            yield Column(f"{metric}_{part}", header, title, "estimate" if metric == ALIGNMENT else form, interval=True)
        yield from pairs.p_columns(metric)


def _row(inputs: TableInputs, model: str, method: str, metrics: list[str]) -> Row | None:
    cells: dict[str, object] = {}
    for metric in metrics:
        for part in PARTS:
            row = inputs.split(part, model, method, metric)
            if row is not None:
                cells[f"{metric}_{part}"] = Estimate.of(row["mean"], row["ci_low"], row["ci_high"], _scale(metric))
                cells.setdefault(f"n_{part}", int(row["n"]))
    if not cells:
        return None
    several = len(inputs.study["models"]) > 1
    title = ", ".join([*([inputs.title(model)] if several else []), inputs.method_title(method)])
    return Row({"kind": model, "title": title, "model": model, "method": method} | cells)


def _differences(inputs: TableInputs, model: str, metrics: list[str]) -> Iterator[Row]:
    """Yield how a model differs from each that it is compared with on the images that both are right about."""
    for pair in (pair for pair in inputs.study["comparisons"] if pair["variant"] == model):
        for method in inputs.study["methods"]:
            title = f"{pairs.minus(inputs, pair)}, {inputs.method_title(method)}, both right"
            cells = {"kind": (pair["baseline"], model), "title": title, "model": model, "method": method}
            marks, shown = {}, []
            for metric in metrics:
                row = inputs.split("both_right", model, method, metric, pair["baseline"])
                if row is None:
                    continue
                key, estimate = (
                    f"{metric}_right",
                    Estimate.of(row["mean"], row["ci_low"], row["ci_high"], _scale(metric)),
                )
                cells |= {key: estimate, "baseline": pair["baseline"]}
                cells.setdefault("n_right", int(row["n"]))
                shown.append(key)
                if estimate is not None:
                    found = Difference(estimate, finite(row["p"]), finite(row["p_corrected"]))
                    cells |= {f"{metric}_p": found.p, f"{metric}_p_corrected": found.p_corrected}
                    if mark := inputs.significance(found):
                        marks[key] = mark
            if shown:
                yield Row(cells, marks, differences=frozenset(shown))


def _scale(metric: str) -> float:
    return 1.0 if metric == ALIGNMENT else scale(METRICS[metric])


def _notes(inputs: TableInputs, metrics: list[str]) -> Iterator[str]:
    table = inputs.by_prediction
    yield f"Dataset: {inputs.dataset['dataset']}. Metrics are defined in docs/metrics.md."
    yield (
        "Right: images whose label is the class that the model puts first, of multi-label data items whose class it "
        "finds more probable than not; wrong: all others. These are different images: what differs may be them, and "
        "not the maps alone."
    )
    if inputs.study.get("images", "all") != "all":
        yield "All images are in this table, whichever count in the others."
    families = [("agreement", "Alignment", [ALIGNMENT]), ("faithfulness", "Faithfulness", FAITHFULNESS)]
    for family, title, names in families:
        if set(names) & set(metrics):
            yield f"{title}: protocol {inputs.protocol_title(family)}."
    if inputs.dataset["human_maps"] == "simulated" and ALIGNMENT in metrics:
        yield "Human maps are simulated, not recorded from people."
    yield from notes.targets(inputs, inputs.study["methods"])
    both = table[(table["images"] == "both_right") & table["metric"].isin(metrics)]
    if len(both):
        test = significance.tested(inputs, both["n_tests"])
        yield (
            "Rows with a minus: paired differences, mean over the images that both models are right about; "
            f"{test} of each metric."
        )
        yield f"{significance.marks(inputs)}."
    counts = table[(table["images"] != "both_right") & (table["metric"] == metrics[0])] if metrics else table
    counts = counts.groupby(["model", "method"], sort=False, as_index=False)["n_degenerate"].sum()
    yield notes.degenerate(inputs, counts, scored="scored as each metric says")
    yield notes.intervals(inputs)
