"""The table of gaze: models and methods beside people's fixations, between the center bias and people themselves."""

from collections.abc import Iterator, Mapping, Sequence

from camstudy.analysis import significance
from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.core.names import CONTROL
from camstudy.metrics.families import METRICS
from camstudy.tables import notes, pairs
from camstudy.tables.metrics import heading, scale
from camstudy.tables.table import Column, Row, Table

BASELINES = {"center_bias": "the center bias of the other images", "uniform": "a uniform density"}
# What is not what other work has under the data set's name, by its source.
FOUND = {
    "mit1003": "Fixations of observers are found by camstudy in the eye tracker's samples (by dispersion), not by the "
    "authors' code (docs/definitions.md): scores are near to those of other work, not equal.",
    "salicon": "Fixations are those of a mouse, with which people uncovered the images.",
}


def gaze(inputs: TableInputs) -> Table:
    """Return a row per control, then per model and method, and a row per comparison of models with the difference.

    Marks say where a method differs from the center bias of other images, and a model from its baseline. The CSV has
    the differences and their p-values.
    """
    return _table(inputs, "gaze", "Maps{} and people's gaze")


def scanpaths(inputs: TableInputs) -> Table:
    """Return the same of methods with scanpaths and their similarity to people's."""
    return _table(inputs, "scanpath", "Scanpaths{} and those of people")


def _table(inputs: TableInputs, family: str, caption: str) -> Table:
    metrics = [name for name in inputs.protocol(family)["metrics"] if (inputs.scores["metric"] == name).any()]
    study, rows = inputs.study, []
    rows += [_row(inputs, CONTROL, control, metrics) for control in study["controls"]]
    for model in study["models"]:
        own = [pair for pair in study["comparisons"] if pair["variant"] == model]
        for method in study["methods"]:
            rows.append(_row(inputs, model, method, metrics))
            rows += [
                pairs.difference_row(inputs, _compared(inputs, pair, method), pair, method, metrics) for pair in own
            ]
    several = len(study["models"]) > 1
    of = "" if several else f" of {inputs.title(study['models'][0])}"
    return Table(
        name={"scanpath": "scanpaths"}.get(family, family),
        caption=f"{caption.format(of)} on {inputs.dataset['dataset']}.",
        columns=tuple(_columns(inputs, metrics, several)),
        # Not every method can explain every model, and not every control is one of gaze.
        rows=tuple(row for row in rows if row is not None),
        notes=tuple(_notes(inputs, family, metrics)),
    )


def _columns(inputs: TableInputs, metrics: Sequence[str], several: bool) -> Iterator[Column]:
    # Wide tables are printed in pieces, of which the first column alone names the rows.
    yield Column("title", "Model, method" if several else "Method")
    yield from (Column(key, shown=False) for key in ("model", "method", "baseline"))
    for metric in metrics:
        yield Column(metric, heading(METRICS[metric]), format="estimate", interval=inputs.study["show_intervals"])
        yield Column(f"{metric}_over_center", format="difference", shown=False)
        yield from pairs.p_columns(metric)
        yield Column(f"{metric}_n", shown=False)


def _row(inputs: TableInputs, model: str, method: str, metrics: Sequence[str]) -> Row | None:
    """Return the scores of a model's method or of a control, marked where they differ from the center bias."""
    cells, marks = _names(inputs, model, method), {}
    estimates = {metric: inputs.estimate(model, method, metric, scale(METRICS[metric])) for metric in metrics}
    if all(estimate is None for estimate in estimates.values()):
        return None
    for metric, estimate in estimates.items():
        cells |= {metric: estimate, f"{metric}_n": inputs.count(model, method, metric)}
        found = inputs.difference(CONTROL, model, method, metric, scale=scale(METRICS[metric]))
        if found is not None:
            cells |= {f"{metric}_over_center": found.estimate}
            cells |= {f"{metric}_p": found.p, f"{metric}_p_corrected": found.p_corrected}
            marks[metric] = inputs.significance(found)
    return Row(cells, {metric: mark for metric, mark in marks.items() if mark})


def _compared(inputs: TableInputs, pair: Mapping, method: str) -> dict[str, object]:
    names = _names(inputs, pair["variant"], method)
    return names | {
        "title": f"{pairs.minus(inputs, pair)}, {inputs.method_title(method)}",
        "baseline": pair["baseline"],
    }


def _names(inputs: TableInputs, model: str, method: str) -> dict[str, str | float | Estimate | None]:
    several = len(inputs.study["models"]) > 1 and model != CONTROL
    title = f"{inputs.title(model)}, {inputs.method_title(method)}" if several else inputs.method_title(method)
    return {"kind": model, "title": title, "model": model, "method": method}


def _notes(inputs: TableInputs, family: str, metrics: Sequence[str]) -> Iterator[str]:
    study, scores, entry = inputs.study, inputs.scores, inputs.protocol(family)
    scores = scores[scores["metric"].isin(metrics)]
    yield f"Dataset: {inputs.dataset['dataset']}, {significance.numbers(scores['n'])} images with fixations that count."
    if inputs.dataset["human_maps"] == "simulated":
        yield "Fixations are simulated, not recorded from people: nothing about people follows."
    if (said := FOUND.get(inputs.dataset.get("source", ""))) is not None:
        yield said
    yield f"Protocol: {inputs.protocol_title(family)}. Metrics are defined in docs/metrics.md."
    if family == "scanpath":
        yield (
            f"ScanMatch: {entry['columns']}x{entry['rows']} cells, threshold {entry['threshold']} cells, gap "
            f"{entry['gap']}, without durations. MultiMatch: without simplification."
        )
    if "information_gain" in metrics:
        yield f"Information gain: over {BASELINES[entry['baseline']]}."
    yield from notes.targets(inputs, study["methods"])
    if study["controls"]:
        yield "Controls are compared over the whole image, maps of models where these looked."
    tests = inputs.comparisons[inputs.comparisons["metric"].isin(metrics)] if len(inputs.comparisons) else []
    if len(tests):
        over = tests["baseline"] == CONTROL
        for of, rows in (("methods, over the center bias of other images", over), ("rows with a minus", ~over)):
            if rows.any():
                test = significance.tested(inputs, tests[rows]["n_tests"])
                yield f"Marks of {of}: paired differences on the same images; {test} of each metric."
        yield f"{significance.marks(inputs)}."
    of_one = scores[scores["metric"] == metrics[0]] if metrics else scores
    yield notes.degenerate(inputs, of_one, scored="scored as each metric says")
    if study["show_intervals"]:
        yield notes.intervals(inputs)
    else:
        yield f"The CSV file has confidence intervals. {notes.intervals(inputs)}"
