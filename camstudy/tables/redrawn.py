"""The table of maps that are drawn again from scanpaths: how near to gaze they are with other sizes of heat."""

from collections.abc import Iterator

import pandas as pd

from camstudy.analysis import significance
from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.metrics.families import METRICS
from camstudy.tables import notes
from camstudy.tables.metrics import heading
from camstudy.tables.table import Column, Row, Table


def heat_sizes(inputs: TableInputs) -> Table:
    """Return a row per model and method with scanpaths: NSS with its own size of heat, then with each of the others.

    A method's own size, which may be one of them, has no second cell. The CSV has the NSS of the first fixations, too,
    with the method's own size.
    """
    found, study = inputs.redrawn, inputs.study
    sizes, numbers = (sorted(found[key].unique()) for key in ("heat_size", "fixations"))
    several = len(study["models"]) > 1
    group, form = (
        f"{heading(METRICS['nss'])}, heat",
        {"format": "score", "interval": study["show_intervals"]},
    )
    columns = [
        Column("title", "Model, method" if several else "Method"),
        *(Column(key, shown=False) for key in ("model", "method")),
        Column("own_size", "Own size", format="number"),
        *(Column(_key(size), f"{size:g}", group, **form) for size in sizes),
        *(Column(f"first_{number}", format="score", shown=False) for number in numbers),
        Column("n", shown=False),
    ]
    rows = [
        _row(inputs, model, method, own)
        for model in study["models"]
        for method in study["methods"]
        if len(own := found[(found["model"] == model) & (found["method"] == method)])
    ]
    return Table(
        name="heat_sizes",
        caption=f"Maps of the same scanpaths on {inputs.dataset['dataset']}, drawn with other sizes of heat.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(_notes(inputs)),
    )


def _key(size: float) -> str:
    return f"size_{size:g}"


def _row(inputs: TableInputs, model: str, method: str, found: pd.DataFrame) -> Row:
    several, title = len(inputs.study["models"]) > 1, inputs.method_title(method)
    whole, own = found[found["fixations"] == found["fixations"].max()], found[found["own"]]
    estimates = {_key(row.heat_size): Estimate.of(row.mean, row.ci_low, row.ci_high) for row in whole.itertuples()}
    first = {f"first_{row.fixations}": Estimate.of(row.mean, row.ci_low, row.ci_high) for row in own.itertuples()}
    cells = {
        "kind": model,
        "title": f"{inputs.title(model)}, {title}" if several else title,
        "model": model,
        "method": method,
        "own_size": float(own["heat_size"].iloc[0]),
        "n": int(whole["n"].max()),
    }
    scored = {key: estimate.value for key, estimate in estimates.items() if estimate is not None}
    best = {key for key, value in scored.items() if value == max(scored.values())}
    return Row(cells | estimates | first, bold=frozenset(best if len(scored) > 1 else ()))


def _notes(inputs: TableInputs) -> Iterator[str]:
    study = inputs.study
    counts = significance.numbers(inputs.redrawn["n"])
    yield f"Dataset: {inputs.dataset['dataset']}, {counts} images with fixations that count."
    if inputs.dataset["human_maps"] == "simulated":
        yield "Fixations are simulated, not recorded from people: nothing about people follows."
    yield (
        f"Protocol: {inputs.protocol_title('redrawn')}. A map is the sum over fixations p of exp(-|z - p|² / size), "
        "places z and p in [-1, 1]²: no pass through the network is needed."
    )
    yield from notes.targets(inputs, [name for name in study["methods"] if (inputs.redrawn["method"] == name).any()])
    yield "Bold: best size of a row. It is chosen on these images, so that its value is an optimistic one."
    yield "The CSV file has the NSS of the first fixations, with the method's own size, and all intervals."
    yield notes.intervals(inputs)
