"""The table of published values: what was measured, what was published, and the difference."""

from collections.abc import Iterator

import pandas as pd

from camstudy.analysis.published import join_published
from camstudy.analysis.summary import Estimate, TableInputs, finite
from camstudy.metrics.families import METRICS
from camstudy.tables.metrics import heading, scale
from camstudy.tables.table import Column, Format, Row, Table

# In the order of the columns, with the unit in which papers print them; what is always shown where it is measured.
FIRST = {
    "top1": ("Top-1 (%)", 100.0),
    "top5": ("Top-5 (%)", 100.0),
    "mean_average_precision": ("mAP (%)", 100.0),
    "parameters": ("Parameters (M)", 1e-6),
    "gmacs": ("Multiply-adds (G)", 1e-9),
    "gflops": ("GFLOPs", 1e-9),
    "alignment": ("Alignment", 1.0),
}
ALWAYS = ("top1", "mean_average_precision", "alignment")
# Of a network, whatever it is shown.
NETWORK = ("parameters", "gmacs", "gflops")


def published(inputs: TableInputs) -> Table:
    """Return a row per model, and per model and method: measured and published values and their difference.

    Of all metrics that are measured and of which a value was published. The last two are blank where nothing was
    published. The CSV has the sources.
    """
    joined = with_published(inputs)
    metrics = _metrics(joined)
    joined = joined.set_index(["model", "method", "metric"])
    columns = [
        # Wide tables are printed in pieces, of which the first column alone names the rows.
        Column("title", "Model, method"),
        *(Column(key, shown=False) for key in ("model", "method_title", "method")),
        *(column for metric in metrics for column in _columns(metric)),
    ]
    rows = [
        Row(_cells(inputs, joined, metrics, model, method))
        for model in inputs.study["models"]
        for method in ["", *inputs.study["methods"]]
    ]
    return Table(
        name="published",
        caption="What was measured beside what was published.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(_notes(inputs, joined, metrics)),
    )


def with_published(inputs: TableInputs) -> pd.DataFrame:
    """Return the scores of models and methods, and what networks cost, with what was published of each."""
    measured = inputs.as_published(pd.concat([inputs.scores, _network(inputs)], ignore_index=True))
    known = inputs.published
    # A network costs the same on any data.
    own = measured["dataset"].iloc[-1]
    known = known.assign(dataset=known["dataset"].mask(known["metric"].isin(NETWORK), own))
    return join_published(measured, known, protocols=inputs.study["catalog"]["protocols"])


def _network(inputs: TableInputs) -> pd.DataFrame:
    """Return what networks cost as rows of the long table; operations where another table has them counted."""
    rows = []
    for model in inputs.study["models"]:
        cost = {"parameters": inputs.models[model].get("parameters")}
        if inputs.cost is not None:
            dense = inputs.cost[model]["multiply_adds"]["dense"]
            cost |= {"parameters": inputs.cost[model]["parameters"], "gmacs": dense, "gflops": 2 * dense}
        about = {"dataset": inputs.dataset["dataset"], "model": model, "method": "", "protocol": ""}
        rows += [about | {"metric": name, "mean": value} for name, value in cost.items() if value is not None]
    return pd.DataFrame(rows, columns=["dataset", "model", "method", "protocol", "metric", "mean"])


def _metrics(joined: pd.DataFrame) -> list[str]:
    """Return the metrics that have a column, in its order."""
    measured, found = {*joined["metric"]}, {*joined.loc[joined["published"].notna(), "metric"]}
    always = [name for name in ALWAYS if name in measured or name != "mean_average_precision"]
    if "mean_average_precision" in measured:
        always.remove("top1")
    return [name for name in dict.fromkeys([*FIRST, *METRICS]) if name in found or name in always]


def _title(metric: str) -> str:
    return FIRST[metric][0] if metric in FIRST else heading(METRICS[metric])


def _scale(metric: str) -> float:
    return FIRST[metric][1] if metric in FIRST else scale(METRICS[metric])


def _columns(metric: str) -> Iterator[Column]:
    form: Format = "number" if metric in NETWORK else "estimate"
    if metric not in FIRST and METRICS[metric].unit == "%":
        form = "percent"
    yield Column(f"{metric}_measured", "Measured", _title(metric), form, interval=None if form != "percent" else True)
    yield Column(f"{metric}_published", "Published", _title(metric), "number")
    yield Column(f"{metric}_difference", "Difference", _title(metric), "number")
    yield Column(f"{metric}_source", shown=False)


def _cells(inputs: TableInputs, joined: pd.DataFrame, metrics: list[str], model: str, method: str) -> dict[str, object]:
    cells: dict[str, object] = {
        "kind": model,
        "title": ", ".join([inputs.title(model), *([inputs.method_title(method)] if method else [])]),
        "model": model,
        "method_title": inputs.method_title(method) if method else "",
        "method": method,
    }
    for metric in metrics:
        if (model, method, metric) in joined.index:
            row = joined.loc[model, method, metric]
            found = Estimate.of(row["mean"], row["ci_low"], row["ci_high"], _scale(metric))
            cells[f"{metric}_measured"] = found and found.value if metric in NETWORK else found
            if finite(row["published"]) is not None:
                cells[f"{metric}_published"] = _scale(metric) * row["published"]
                cells[f"{metric}_difference"] = _scale(metric) * row["difference"]
                cells[f"{metric}_source"] = row["published_source"]
    return cells


def _notes(inputs: TableInputs, joined: pd.DataFrame, metrics: list[str]) -> Iterator[str]:
    found = joined.dropna(subset="published")
    of = inputs.study["prediction_dataset"] or inputs.study["dataset"]
    if "mean_average_precision" in metrics:
        yield f"mAP: mean average precision over the classes of {of}."
    else:
        share = f"share of the images of {of} whose label has the largest logit"
        yield f"Top-1: {share}. Values are published for ImageNet."
    if {"gmacs", "gflops"} & {*metrics}:
        yield (
            "Multiply-adds: of one image, a multiplication with its addition counts once, DCLS kernels as the dense "
            "kernels that run; GFLOPs: they count twice."
        )
    of_table = joined.index.get_level_values("metric").isin(metrics) & joined.index.get_level_values("model").isin(
        inputs.study["models"]
    )
    yield f"Published: {len(found)} of the {int(of_table.sum())} numbers in this table; blank where none is known."
    if "agreement" in {entry["family"] for entry in inputs.study["catalog"]["protocols"].values()}:
        yield f"Protocol: {inputs.protocol_title('agreement')}."
    if len(found):
        yield f"Sources: {'; '.join(dict.fromkeys(found['published_source']))}."
        unverified = found.index[found["published_verified"] == False]  # noqa: E712  (a column of objects)
        if len(unverified):
            yield f"{len(unverified)} of them are second-hand or inferred."
