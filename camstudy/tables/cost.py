"""The cost table: what each model costs, beside how aligned it is."""

from collections.abc import Iterator, Mapping

from camstudy.analysis.summary import TableInputs, finite
from camstudy.tables import notes
from camstudy.tables.published import with_published
from camstudy.tables.table import Column, Row, Table

# Published operations of two for a multiplication with its addition are halved.
PUBLISHED = {
    "parameters": ("parameters", 1e-6),
    "gmacs": ("multiply_adds", 1e-9),
    "gflops": ("multiply_adds", 0.5e-9),
}
FOLDS = {"folded": "Folded", "unfolded": "Unfolded"}


def cost(inputs: TableInputs) -> Table:
    """Return a row per model: parameters, multiply-adds, images per second, peak memory, and alignment by method.

    What was published of parameters and multiply-adds stands beside them. What applies only to models with DCLS layers
    stays blank for the others: `unfolded`.
    """
    known = _published(inputs)
    several = ("Measured", "Parameters (M)") if any("parameters" in found for found in known.values()) else None
    columns = [
        Column("architecture", shown=False),
        Column("title", "Model"),
        Column("model", shown=False),
        Column("input_size", "Input (px)", format="count"),
        Column("parameters", *(several or ("Parameters (M)", "")), format="millions"),
        Column("parameters_published", "Published", "Parameters (M)", "number"),
        Column("multiply_adds_dense", "Dense", "Multiply-adds (G)", "billions"),
        Column("multiply_adds_taps", "Taps", "Multiply-adds (G)", "billions"),
        Column("multiply_adds_published", "Published", "Multiply-adds (G)", "number"),
        *(Column(f"images_per_second_{key}", header, "Images/s", "number") for key, header in FOLDS.items()),
        *(Column(f"peak_memory_mb_{key}", header, "Memory (MiB)", "count") for key, header in FOLDS.items()),
        Column("batch_size", format="count", shown=False),
        Column("device", shown=False),
    ]
    for method in inputs.study["methods"]:
        columns.append(Column(f"{method}_alignment", inputs.method_title(method), "Alignment", "estimate"))
    return Table(
        name="cost",
        caption=f"Cost of the models, and their alignment with human maps on {inputs.dataset['dataset']}.",
        columns=tuple(columns),
        rows=tuple(_row(inputs, known, *names) for names in inputs.by_architecture()),
        notes=tuple(_notes(inputs, known)),
    )


def _published(inputs: TableInputs) -> dict[str, dict[str, float]]:
    """Return what was published of parameters and multiply-adds, in millions and billions, by model."""
    if inputs.published is None:
        return {}
    found: dict[str, dict[str, float]] = {}
    for row in with_published(inputs).itertuples():
        if row.metric in PUBLISHED and finite(row.published) is not None:
            key, scale = PUBLISHED[row.metric]
            found.setdefault(row.model, {}).setdefault(key, scale * row.published)
    return found


def _row(inputs: TableInputs, known: Mapping[str, Mapping[str, float]], architecture: str, model: str) -> Row:
    record = inputs.cost[model]
    cells: dict[str, object] = {
        "kind": architecture,
        "architecture": architecture,
        "title": inputs.title(model),
        "model": model,
        "multiply_adds_dense": record["multiply_adds"]["dense"],
        "multiply_adds_taps": record["multiply_adds"]["taps"],
        **{key: record[key] for key in ("parameters", "input_size", "batch_size", "device")},
        **{f"{key}_published": value for key, value in known.get(model, {}).items()},
    }
    for kind in ("images_per_second", "peak_memory_mb"):
        cells |= {f"{kind}_{key}": value for key, value in record[kind].items() if value is not None}
    for method in inputs.study["methods"]:
        cells[f"{method}_alignment"] = inputs.estimate(model, method, "alignment")
    return Row(cells)


def _notes(inputs: TableInputs, known: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    records = inputs.cost
    yield "Parameters: a tensor that several layers share counts once."
    yield (
        "Multiply-adds: of one image of the model's input size, in convolutions and linear layers only; a "
        "multiplication with its addition counts once. Dense: DCLS kernels as the dense kernels that run; taps: as "
        "their elements alone. Building the kernels is in neither."
    )
    yield (
        "Images/s: forward passes in float32 without gradients, the median of "
        f"{_by_model(inputs, '{repeats} after {warm_up} of warm-up, batches of {batch_size}, {device}')}. Folded: DCLS "
        "layers as plain convolutions; unfolded: their kernels are built in every pass."
    )
    yield f"Memory: the most in such a pass, weights included: {_by_model(inputs, '{memory}')}."
    yield (
        f"Times, by the protocol {inputs.protocol_title('cost')}, are measured once and kept; unlike all else they "
        "differ from run to run and from machine to machine."
    )
    if known:
        joined = with_published(inputs)
        joined = joined[joined["metric"].isin(PUBLISHED) & joined["published"].notna()]
        yield from notes.published([row for _, row in joined.iterrows()])
    alignment = inputs.scores[(inputs.scores["metric"] == "alignment") & inputs.scores["model"].isin(list(records))]
    yield from notes.about(inputs, alignment)
    yield from notes.targets(inputs, inputs.study["methods"])
    yield notes.degenerate(inputs, alignment)
    yield notes.intervals(inputs)


def _by_model(inputs: TableInputs, text: str) -> str:
    """Return a text filled in from the models' records, with the models' titles where it is not the same for all."""
    found: dict[str, list[str]] = {}
    for model, record in inputs.cost.items():
        found.setdefault(text.format_map(record), []).append(inputs.title(model))
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{said} ({', '.join(titles)})" for said, titles in found.items())
