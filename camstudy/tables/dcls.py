"""The DCLS table: how aligned with people each architecture is, as it is and with DCLS, under each method."""

from collections.abc import Iterator

from camstudy.analysis import significance
from camstudy.analysis.summary import TableInputs
from camstudy.core.names import CONTROL
from camstudy.tables import notes
from camstudy.tables.table import Column, Row, Table


def dcls(inputs: TableInputs) -> Table:
    """Return the table of a study's comparisons, or of its models if it compares none, and its controls.

    Parameters are counts (shown in millions), top-1 is in percent, alignment is the mean Spearman correlation
    divided by the human ceiling. A control uses no model: its one value stands under every method, in the
    column of the baselines.
    """
    study = inputs.study
    compared = bool(study["comparisons"])
    if compared:
        columns, rows = _comparison_columns(inputs), _comparison_rows(inputs)
    else:
        columns, rows = _model_columns(inputs), _model_rows(inputs)
    name, part = ("baseline", "baseline_") if compared else ("model", "")
    for control in study["controls"]:
        cells = {"kind": "control", "title": inputs.method_title(control), name: control}
        for method in study["methods"]:
            cells[f"{method}_{part}alignment"] = inputs.estimate(CONTROL, control, "alignment")
            cells[f"{method}_{part}n_degenerate"] = inputs.n_degenerate(CONTROL, control)
        rows.append(Row(cells))
    what = "baseline and DCLS variant" if compared else "each model"
    return Table(
        name="dcls",
        caption=f"Alignment with human maps on {inputs.dataset['dataset']}, {what}.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(_notes(inputs)),
    )


def _comparison_columns(inputs: TableInputs) -> list[Column]:
    columns = [
        Column("kind", shown=False),
        Column("title", "Architecture"),
        Column("baseline", shown=False),
        Column("variant", shown=False),
        Column("baseline_parameters", "Baseline", "Parameters (M)", "millions"),
        Column("dcls_parameters", "DCLS", "Parameters (M)", "millions"),
        Column("baseline_top1_percent", "Baseline", "Top-1 (%)", "percent"),
        Column("dcls_top1_percent", "DCLS", "Top-1 (%)", "percent"),
    ]
    headers = {"holm": "p (Holm)", "benjamini_hochberg": "p (B-H)", "none": "p"}
    p_header = headers[inputs.study["statistics"]["correction"]]
    for method in inputs.study["methods"]:
        group = f"Alignment, {inputs.method_title(method)}"
        columns += [
            Column(f"{method}_baseline_alignment", "Baseline", group, "estimate"),
            Column(f"{method}_dcls_alignment", "DCLS", group, "estimate"),
            Column(f"{method}_difference", "Difference", group, "difference"),
            Column(f"{method}_p", format="p", shown=False),
            Column(f"{method}_p_corrected", p_header, group, "p", levels=tuple(inputs.levels())),
            Column(f"{method}_significance", shown=False),
            Column(f"{method}_baseline_n_degenerate", format="count", shown=False),
            Column(f"{method}_dcls_n_degenerate", format="count", shown=False),
        ]
    return columns


def _comparison_rows(inputs: TableInputs) -> list[Row]:
    rows = []
    for pair in inputs.study["comparisons"]:
        baseline, variant = pair["baseline"], pair["variant"]
        cells = {"kind": "comparison", "title": pair["title"], "baseline": baseline, "variant": variant}
        marks, bold = {}, set()
        for role, model in (("baseline", baseline), ("dcls", variant)):
            cells[f"{role}_parameters"] = inputs.models[model].get("parameters")
            cells[f"{role}_top1_percent"] = inputs.estimate(model, "", "top1", scale=100)
        for method in inputs.study["methods"]:
            for role, model in (("baseline", baseline), ("dcls", variant)):
                cells[f"{method}_{role}_alignment"] = inputs.estimate(model, method, "alignment")
                cells[f"{method}_{role}_n_degenerate"] = inputs.n_degenerate(model, method)
            difference = inputs.difference(baseline, variant, method)
            mark = inputs.significance(difference)
            cells |= {
                f"{method}_difference": difference and difference.estimate,
                f"{method}_p": difference and difference.p,
                f"{method}_p_corrected": difference and difference.p_corrected,
                f"{method}_significance": mark,
            }
            if mark:
                marks[f"{method}_p_corrected"] = mark
                better = "dcls" if difference.estimate.value > 0 else "baseline"
                bold.add(f"{method}_{better}_alignment")
        rows.append(Row(cells, marks, frozenset(bold)))
    return rows


def _model_columns(inputs: TableInputs) -> list[Column]:
    columns = [
        Column("kind", shown=False),
        Column("title", "Model"),
        Column("model", shown=False),
        Column("parameters", "Parameters (M)", format="millions"),
        Column("top1_percent", "Top-1 (%)", format="percent"),
    ]
    for method in inputs.study["methods"]:
        columns.append(Column(f"{method}_alignment", inputs.method_title(method), "Alignment", "estimate"))
        columns.append(Column(f"{method}_n_degenerate", format="count", shown=False))
    return columns


def _model_rows(inputs: TableInputs) -> list[Row]:
    rows = []
    for model in inputs.study["models"]:
        cells: dict[str, object] = {
            "kind": "model",
            "title": inputs.title(model),
            "model": model,
            "parameters": inputs.models[model].get("parameters"),
            "top1_percent": inputs.estimate(model, "", "top1", scale=100),
        }
        for method in inputs.study["methods"]:
            cells[f"{method}_alignment"] = inputs.estimate(model, method, "alignment")
            cells[f"{method}_n_degenerate"] = inputs.n_degenerate(model, method)
        rows.append(Row(cells))
    return rows


def _notes(inputs: TableInputs) -> Iterator[str]:
    study, alignment = inputs.study, inputs.scores[inputs.scores["metric"] == "alignment"]
    yield from notes.about(inputs, alignment)
    yield from notes.targets(inputs, study["methods"])
    if study["controls"]:
        names = ", ".join(inputs.method_title(control).lower() for control in study["controls"])
        yield f"Controls ({names}) use no model: their one value stands under every method."
    if study["prediction_dataset"]:
        yield f"Top-1 is measured on {study['prediction_dataset']}."
    yield notes.degenerate(inputs, alignment)
    yield notes.intervals(inputs)
    yield from _test_notes(inputs)


def _test_notes(inputs: TableInputs) -> Iterator[str]:
    study, table = inputs.study, inputs.comparisons
    if not study["comparisons"]:
        return
    paired = "Difference: DCLS minus baseline, mean over the same images"
    if table.empty:
        yield f"{paired}; not tested."
    else:
        yield f"{paired}; {significance.tested(inputs, table.loc[table['metric'] == 'alignment', 'n_tests'])}."
        yield f"{significance.marks(inputs)}; bold: the higher of two alignments that differ significantly."
    compared = {pair[role] for pair in study["comparisons"] for role in ("baseline", "variant")}
    others = [inputs.title(model) for model in study["models"] if model not in compared]
    if others:
        yield f"Not shown, since in no comparison: {', '.join(others)}."
