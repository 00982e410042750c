"""The table of the layer sweep by faithfulness: which stage of a network is best explained, metric by metric."""

from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import Metric
from camstudy.tables import notes
from camstudy.tables.metrics import heading, scale
from camstudy.tables.table import Column, Row, Table


def layer_faithfulness(inputs: TableInputs) -> Table:
    """Return a row per model, method and stage with all metrics of the protocol, the best stage of each method bold."""
    sweep, table = inputs.study["layer_sweep"], inputs.layer_scores
    metrics = [METRICS[name] for name in dict.fromkeys(table["metric"]) if name in METRICS]
    columns = [
        Column("title", "Model"),
        Column("model", shown=False),
        Column("method_title", "Method"),
        Column("method", shown=False),
        Column("stage", "Stage", format="count"),
    ]
    for metric in metrics:
        columns.append(
            Column(metric.name, heading(metric), format="percent" if metric.unit == "%" else "score", interval=True)
        )
    known = table.set_index(["model", "method", "stage", "metric"])
    rows = []
    for model in inputs.study["models"]:
        for method in sweep["methods"]:
            cells = []
            for stage in sweep["stages"]:
                about = {"kind": (model, method), "title": inputs.title(model), "model": model, "stage": stage}
                about |= {"method_title": inputs.method_title(method), "method": method}
                for metric in metrics:
                    found = known.loc[(model, method, stage, metric.name)]
                    about[metric.name] = Estimate.of(found["mean"], found["ci_low"], found["ci_high"], scale(metric))
                cells.append(about)
            rows += [Row(each, bold=frozenset(m.name for m in metrics if each is _best(cells, m))) for each in cells]
    return Table(
        name="layer_faithfulness",
        caption=f"Faithfulness on {inputs.dataset['dataset']} by stage of the network.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            f"Dataset: {inputs.dataset['dataset']}, {notes.images(inputs, table['n'])}. "
            "Metrics: docs/metrics.md. "
            f"Protocol: {inputs.protocol_title('faithfulness')}.",
            *notes.targets(inputs, sweep["methods"]),
            "Stage: the output of this stage is explained instead of what enters global pooling; 1 is the first after "
            "the stem, -1 the last. Bold: the best stage of a method, by the arrow's direction.",
            notes.degenerate(inputs, table[table["metric"] == metrics[0].name], scored="scored as each metric says"),
            notes.intervals(inputs),
        ),
    )


def _best(cells: list[dict], metric: Metric) -> dict | None:
    """Return the stage with the best value of a metric, the first of equals."""
    known = [each for each in cells if each[metric.name] is not None]
    sign = 1 if metric.direction == "up" else -1
    return max(known, key=lambda each: sign * each[metric.name].value, default=None)
