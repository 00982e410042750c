"""Every score of a study: a row per model and method, a column per metric, whoever registered it."""

from collections.abc import Iterator

from camstudy.analysis import significance
from camstudy.analysis.summary import TableInputs
from camstudy.core.names import CONTROL
from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import Metric
from camstudy.metrics.scoring import FAMILIES
from camstudy.tables import notes
from camstudy.tables.metrics import heading, scale
from camstudy.tables.table import Column, Row, Table

PREDICTION = "prediction"


def scores(inputs: TableInputs) -> Table:
    """Return all means of the long table with their intervals; the first row of a model is what it predicts.

    Controls that are scored once for all models come last.
    """
    metrics = _metrics(inputs)
    methods = ["", *inputs.study["methods"], *inputs.study["controls"]]
    # Of families that look at no maps.
    methods += [name for name in dict.fromkeys(inputs.scores["method"]) if name not in methods]
    places = [*inputs.study["models"], CONTROL]
    rows = [row for model in places for method in methods if (row := _row(inputs, model, method, metrics))]
    return Table(
        name="scores",
        caption=f"All scores on {inputs.dataset['dataset']}.",
        columns=(
            # Wide tables are printed in pieces, of which the first column alone names the rows.
            Column("title", "Model, method"),
            Column("model", shown=False),
            Column("method", shown=False),
            *(column for metric in metrics for column in _columns(metric)),
        ),
        rows=tuple(rows),
        notes=tuple(_notes(inputs, metrics)),
    )


def _metrics(inputs: TableInputs) -> list[Metric]:
    """Return the metrics of the long table: those of models, then by family in the order of registration."""
    scored = {*inputs.scores["metric"]}
    found = [metric for name, metric in METRICS.items() if name in scored]
    order = [PREDICTION, *FAMILIES]
    return sorted(found, key=lambda metric: order.index(metric.family))


def _columns(metric: Metric) -> list[Column]:
    title, form = _title(metric.family), "percent" if metric.unit == "%" else "estimate"
    counts = [Column(f"{metric.name}_{count}", format="count", shown=False) for count in ("n", "n_degenerate")]
    return [Column(metric.name, heading(metric), title, form, interval=True), *counts]


def _title(family: str) -> str:
    return "Prediction" if family == PREDICTION else FAMILIES[family].title


def _row(inputs: TableInputs, model: str, method: str, metrics: list[Metric]) -> Row | None:
    """Return the scores of a model and method; None where there are none."""
    table = inputs.scores[(inputs.scores["model"] == model) & (inputs.scores["method"] == method)]
    cells = {}
    for metric in metrics:
        if (estimate := inputs.estimate(model, method, metric.name, scale(metric))) is not None:
            (found,) = table[table["metric"] == metric.name].itertuples()
            counts = {f"{metric.name}_n": int(found.n), f"{metric.name}_n_degenerate": int(found.n_degenerate)}
            cells |= {metric.name: estimate, **counts}
    if not cells:
        return None
    names = ["All models" if model == CONTROL else inputs.title(model)]
    names += [inputs.method_title(method)] if method else []
    return Row({"kind": model, "title": ", ".join(names), "model": model, "method": method} | cells)


def _notes(inputs: TableInputs, metrics: list[Metric]) -> Iterator[str]:
    study, table = inputs.study, inputs.scores
    yield f"Dataset: {inputs.dataset['dataset']}. Metrics are defined in docs/metrics.md."
    for family in dict.fromkeys(metric.family for metric in metrics):
        names = [metric.name for metric in metrics if metric.family == family]
        counts = table[table["metric"].isin(names)]["n"]
        images = notes.images(inputs, counts)
        if family == PREDICTION:
            of_images = table[table["metric"] == "mean_average_precision"]["n"]
            images = f"{significance.numbers(of_images if len(of_images) else counts)} images"
            where = study["prediction_dataset"] or inputs.dataset["dataset"]
            yield f"Prediction: without maps, on {where}, {images}."
            continue
        entry = inputs.protocol(family)
        settings = ", ".join(f"{key} {entry[key]}" for key in FAMILIES[family].settings)
        by = f"{_title(family)}: protocol {inputs.protocol_title(family)}"
        yield f"{by}{f' ({settings})' if settings else ''}, {images}."
    yield from notes.targets(inputs, study["methods"])
    maps = table[table["method"] != ""].sort_values("n_degenerate", ascending=False, kind="stable")
    maps = maps.drop_duplicates(["model", "method"]).sort_index()
    yield notes.degenerate(inputs, maps, scored="scored as each metric says")
    yield notes.intervals(inputs)
