"""The tables of sweeps: alignment by threshold, and by stage of the network."""

from collections.abc import Iterator

from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.tables import notes
from camstudy.tables.table import Column, Row, Table

HALVES = ("even", "odd")
ROLES = {"relu_after": "relu_after_sum", "relu_before": "relu_before_sum"}


def threshold_sweep(inputs: TableInputs) -> Table:
    """Return a row per model: alignment with neither, either and both of Threshold-Grad-CAM's changes, and best floors.

    The changes are the ReLU before the sum over channels instead of after it, and min-max with the method's floor. The
    best floor is the one of the highest mean alignment, the first of equals in the order of the protocol. Held out is
    the alignment of each half of the images at the floor that is best on the other half.
    """
    sweep = inputs.study["sweep"]
    after, before = (sweep[role] for role in ROLES.values())
    floor = inputs.study["catalog"]["methods"][before]["postprocess"]["floor"]
    group = "Alignment"
    columns = (
        Column("architecture", shown=False),
        Column("title", "Model"),
        Column("model", shown=False),
        Column("neither_alignment", f"Neither ({inputs.method_title(after)})", group, "estimate"),
        Column("relu_before_alignment", "ReLU before sum", group, "estimate"),
        Column("floor_alignment", f"Floor {floor:g}", group, "estimate"),
        Column("both_alignment", f"Both ({inputs.method_title(before)})", group, "estimate"),
        Column("relu_after_best_floor", "ReLU after", "Best floor"),
        Column("relu_before_best_floor", "ReLU before", "Best floor"),
        Column("relu_after_best_alignment", "ReLU after", "At the best floor", "estimate"),
        Column("relu_before_best_alignment", "ReLU before", "At the best floor", "estimate"),
        Column("relu_after_held_out", "ReLU after", "Held out", "estimate"),
        Column("relu_before_held_out", "ReLU before", "Held out", "estimate"),
        *(column for role in ROLES for half in HALVES for column in _half_columns(role, half)),
    )
    rows = []
    for architecture, model in inputs.by_architecture():
        cells = {
            **_named(inputs, architecture, model),
            "neither_alignment": inputs.at_floor(model, after, None),
            "relu_before_alignment": inputs.at_floor(model, before, None),
            "floor_alignment": inputs.at_floor(model, after, floor),
            "both_alignment": inputs.at_floor(model, before, floor),
        }
        for role, key in ROLES.items():
            cells[f"{role}_best_floor"], cells[f"{role}_best_alignment"] = _best(inputs, model, sweep[key])
            cells |= _held_out(inputs, model, sweep[key], role)
        rows.append(Row(cells))
    return Table(
        name="threshold_sweep",
        caption=f"Sensitivity of alignment to the threshold on {inputs.dataset['dataset']}.",
        columns=columns,
        rows=tuple(rows),
        notes=tuple(_threshold_notes(inputs, after, before, floor)),
    )


def _best(inputs: TableInputs, model: str, method: str) -> tuple[str | None, Estimate | None]:
    found = [(floor, inputs.at_floor(model, method, floor)) for floor in inputs.protocol("sweep")["floors"]]
    scored = [(floor, estimate) for floor, estimate in found if estimate is not None]
    if not scored:
        return None, None
    floor, estimate = max(scored, key=lambda pair: pair[1].value)
    return _written(floor), estimate


def _written(floor: float | None) -> str:
    return "none" if floor is None else f"{floor:g}"


def _half_columns(role: str, half: str) -> list[Column]:
    name = f"{role}_held_out_{half}"
    return [Column(name, format="estimate", shown=False), Column(f"{name}_floor", shown=False)]


def _held_out(inputs: TableInputs, model: str, method: str, role: str) -> dict[str, object]:
    """Return the cells of what best floors are worth on images that they were not chosen on."""
    cells = {}
    for half in ("", *HALVES):
        found = inputs.held_out(model, method, half)
        if found:
            name = f"{role}_held_out" + (f"_{half}" if half else "")
            cells[name] = found[0]
            if half:
                cells[f"{name}_floor"] = _written(found[1])
    return cells


def _threshold_notes(inputs: TableInputs, after: str, before: str, floor: float) -> Iterator[str]:
    raw = inputs.sweep[inputs.sweep["floor"].isna() & (inputs.sweep["metric"] == "alignment")]
    yield from notes.about(inputs, raw, "sweep")
    yield from notes.targets(inputs, [after, before])
    yield (
        f"Neither: ReLU(mean of a A over channels), with activations A and weights a; ReLU before the sum: mean of "
        f"ReLU(a A). Floor {floor:g}: each map is scaled to 0 to 1, then lower values are raised to {floor:g}."
    )
    floors = ", ".join(map(_written, inputs.protocol("sweep")["floors"]))
    yield f"Best floor: of {floors}; chosen on these images, so that its own alignment is an optimistic one."
    if inputs.sweep["metric"].eq("held_out_alignment").any():
        yield (
            "Held out: every other image is scored at the floor that is best on the rest, and the rest at the floor "
            "that is best on these. Intervals take the floors as given; the CSV file has them, and both halves."
        )
    yield notes.degenerate(inputs, raw)
    yield notes.intervals(inputs)


def layer_sweep(inputs: TableInputs) -> Table:
    """Return a row per model and a column per method and stage: the alignment of maps of that stage's output."""
    sweep = inputs.study["layer_sweep"]
    columns = [Column("architecture", shown=False), Column("title", "Model"), Column("model", shown=False)]
    for method in sweep["methods"]:
        for stage in sweep["stages"]:
            columns.append(Column(f"{method}_stage{stage}", f"Stage {stage}", inputs.method_title(method), "estimate"))
    rows = []
    for architecture, model in inputs.by_architecture():
        cells = _named(inputs, architecture, model)
        for method in sweep["methods"]:
            for stage in sweep["stages"]:
                cells[f"{method}_stage{stage}"] = inputs.at_stage(model, method, stage)
        rows.append(Row(cells))
    return Table(
        name="layer_sweep",
        caption=f"Alignment with human maps on {inputs.dataset['dataset']} by stage of the network.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=(
            *notes.about(inputs, inputs.layers),
            *notes.targets(inputs, sweep["methods"]),
            "Stage: the output of this stage is explained instead of what enters global pooling; 1 is the first after "
            "the stem, -1 the last. Earlier stages have finer maps.",
            notes.degenerate(inputs, inputs.layers),
            notes.intervals(inputs),
        ),
    )


def _named(inputs: TableInputs, architecture: str, model: str) -> dict[str, object]:
    """Return the cells that name a row; rules part architectures."""
    return {"kind": architecture, "architecture": architecture, "title": inputs.title(model), "model": model}
