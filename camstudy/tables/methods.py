"""The tables of methods, as in Opti-CAM (arXiv 2301.07002): how faithful they are to the model, and what they find."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from camstudy.analysis.published import join_published
from camstudy.analysis.summary import Estimate, TableInputs, finite
from camstudy.core.names import CONTROL
from camstudy.metrics.families import METRICS
from camstudy.metrics.scoring import FAMILIES
from camstudy.tables import notes, pairs
from camstudy.tables.metrics import heading, scale
from camstudy.tables.table import Column, Row, Table, cell

FAITHFULNESS = (
    *("average_drop", "average_gain", "average_increase", "insertion_auc", "deletion_auc"),
    *("positive_perturbation", "negative_perturbation"),
)
LOCALIZATION = (
    *("official_metric", "localization_error", "pixel_f1", "box_accuracy", "pointing_game", "pointing_game_exact"),
    *("energy_pointing_game", "saliency_metric"),
)
EXPLANATIONS = (
    *("average_drop", "average_increase", "insertion_auc", "deletion_auc", "energy_pointing_game"),
    *("nss", "auc_judd", "shuffled_auc", "cc", "sim", "kld", "information_gain", "scanmatch"),
)
# Published relative gains of NSS, and the methods of the catalogue that they are over.
GAIN, GAINS = "nss_gain_over_", {"rise": "rise_predicted", "grad_cam": "gradcam_predicted"}
USUAL = {"ties": "row_major", "removed": "rounded"}
PARTS = {"largest": "", "all": ", the best box of all parts of a map"}
SECONDS = "seconds_per_image"
SHARED = 3  # methods that may be the best, or second best, together
Key = tuple[str, str, str]  # model, method, metric


def faithfulness(inputs: TableInputs) -> Table:
    """Return a row per model and method: faithfulness metrics and seconds per image."""
    protocol = inputs.protocol("faithfulness")
    stated = ["step", "start", "target", "blur", "normalize"]
    # Those of a later day where they are not as it was before.
    stated += [key for key, usual in USUAL.items() if protocol[key] != usual]
    settings = ", ".join(f"{key} {protocol[key]}" for key in stated)
    said = f"Insertion and deletion follow the protocol {inputs.protocol_title('faithfulness')} ({settings})"
    timed = {(record["device"], record["batch_size"]) for record in (inputs.timing or {}).values()}
    devices = "; ".join(f"{device}, batches of {size}" for device, size in sorted(timed))
    facts = [f"{said}: values under different protocols cannot be compared."]
    if devices:
        count = inputs.protocol("cost").get("images") or inputs.protocol("cost")["batch_size"]
        facts.append(
            f"Seconds per image: explaining alone, of the first {count} images of the dataset, or all if there are "
            f"fewer, on {devices}; × forward: in forward passes of the same images. Protocol: "
            f"{inputs.protocol_title('cost')}. Times differ from run to run, and are not ranked."
        )
    facts += notes.tied(inputs, protocol["ties"])
    return _table(inputs, "faithfulness", FAITHFULNESS, "Faithfulness of explanation methods", facts)


def localization(inputs: TableInputs) -> Table:
    """Return a row per model and method: localisation metrics, and the saliency metric where faithfulness is there."""
    settings = inputs.protocol("localization")
    facts = [
        f"Protocol: {inputs.protocol_title('localization')}. "
        f"Pointing game: within {_tolerance(settings['pointing_tolerance'])} of a box; of several maxima, "
        f"{settings['pointing_ties']} counts. Box accuracy: at the best threshold for this dataset, "
        f"IoU {', '.join(map(str, settings['iou']))}{PARTS[settings['components']]}."
    ]
    return _table(
        replace(inputs, timing=None), "localization", LOCALIZATION, "Localisation by explanation methods", facts
    )


def explanations(inputs: TableInputs) -> Table:
    """Return a row per model and method: what FovEx (arXiv 2408.02123) reports, faithfulness, localisation and gaze.

    Of `EXPLANATIONS`, the metrics that the study has. A note gives the relative gains of NSS beside published ones.
    """
    metrics = [name for name in EXPLANATIONS if (inputs.scores["metric"] == name).any()]
    families = dict.fromkeys(METRICS[name].family for name in metrics)
    facts = [f"{FAMILIES[family].title}: protocol {inputs.protocol_title(family)}." for family in families]
    facts += _gains(inputs)
    return _table(replace(inputs, timing=None), "explanations", metrics, "Explanation methods", facts)


def _gains(inputs: TableInputs) -> Iterator[str]:
    """Yield by how much NSS is higher than another method's, model by model, where that was published."""
    if inputs.published is None:
        return
    found = inputs.published[inputs.published["metric"].str.startswith(GAIN)]
    for row in found.itertuples():
        pair = [row.catalog_method, GAINS.get(row.metric.removeprefix(GAIN))]
        for model in inputs.study["models"]:
            nss = [inputs.estimate(model, method, "nss") for method in pair]
            if None not in nss and nss[1].value > 0:
                first, second = (inputs.method_title(method) for method in pair)
                yield (
                    f"NSS of {first} over {second}, {inputs.title(model)}: "
                    f"{100 * (nss[0].value / nss[1].value - 1):+.0f} % (published: {row.value:+.0f} %)."
                )


def _tolerance(stated: float | Mapping) -> str:
    if not isinstance(stated, Mapping):
        return f"{stated} pixels"
    return f"{stated['pixels']} pixels{' of the photograph' if stated['of'] == 'photograph' else ''}"


def _table(inputs: TableInputs, name: str, metrics: Sequence[str], caption: str, facts: Sequence[str]) -> Table:
    study, published = inputs.study, _published(inputs, metrics)
    names, rows = [*study["methods"], *study["controls"]], []
    for model in study["models"]:
        cells = [_cells(inputs, published, model, name, metrics) for name in names]
        # Not every method can explain every model.
        rows += _marked(inputs, [each for each in cells if any(metric in each for metric in metrics)], metrics)
        rows += _differences(inputs, model, metrics)
    several = len(study["models"]) > 1
    of = "" if several else f" of {inputs.title(study['models'][0])}"
    columns = [
        # Wide tables are printed in pieces, of which the first column alone names the rows.
        Column("title", "Model, method" if several else "Method"),
        Column("model_title", shown=False),
        Column("model", shown=False),
        Column("method", shown=False),
        *([Column("baseline", shown=False)] if study["comparisons"] else []),
        *(column for metric in metrics for column in _columns(inputs, metric, bool(published))),
    ]
    if inputs.timing:
        columns += _time_columns(bool(published))
    return Table(
        name=name,
        caption=f"{caption}{of} on {inputs.dataset['dataset']}.",
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(_notes(inputs, metrics, facts, published)),
    )


def _columns(inputs: TableInputs, metric: str, published: bool) -> list[Column]:
    record = METRICS[metric]
    title, form = heading(record), "percent" if record.unit == "%" else "score"
    header, group = ("Measured", title) if published else (title, "")
    columns = [Column(metric, header, group, form, interval=inputs.study["show_intervals"])]
    columns.append(Column(f"{metric}_published", "Published", group, form, shown=published, interval=False))
    columns += pairs.p_columns(metric) if inputs.study["comparisons"] else ()
    return [*columns, Column(f"{metric}_difference", format="number", shown=False), Column(f"{metric}_n", shown=False)]


def _differences(inputs: TableInputs, model: str, metrics: Sequence[str]) -> Iterator[Row]:
    """Yield how a model differs from each that it is compared with, method by method."""
    for pair in (pair for pair in inputs.study["comparisons"] if pair["variant"] == model):
        title = pairs.minus(inputs, pair)
        about = {"kind": (pair["baseline"], model), "model_title": title, "model": model, "baseline": pair["baseline"]}
        for method in inputs.study["methods"]:
            names = about | {"title": f"{title}, {inputs.method_title(method)}", "method": method}
            if (row := pairs.difference_row(inputs, names, pair, method, metrics)) is not None:
                yield row


def _time_columns(published: bool) -> list[Column]:
    header, group = ("Measured", "Seconds per image ↓") if published else ("Seconds per image ↓", "")
    return [
        Column(SECONDS, header, group, "number"),
        Column("forward_passes", "× forward", group, "number"),
        Column(f"{SECONDS}_published", "Published", group, "number", shown=published),
    ]


def _cells(
    inputs: TableInputs, published: Mapping[Key, pd.Series], model: str, method: str, metrics: Sequence[str]
) -> dict[str, object]:
    several = len(inputs.study["models"]) > 1
    cells: dict[str, object] = {
        "kind": model,
        "title": ", ".join([*([inputs.title(model)] if several else []), inputs.method_title(method)]),
        "model_title": inputs.title(model),
        "model": model,
        "method": method,
    }
    for metric in metrics:
        # The maps of a control are the same for all models, but each model may have been tried with them.
        for place in (model, CONTROL):
            estimate = inputs.estimate(place, method, metric, scale(METRICS[metric]))
            if estimate is not None and metric not in cells:
                cells |= {metric: estimate, f"{metric}_n": inputs.count(place, method, metric)}
        if (model, method, metric) in published:
            row = published[model, method, metric]
            cells[f"{metric}_published"] = Estimate(scale(METRICS[metric]) * row["published"])
            cells[f"{metric}_difference"] = finite(scale(METRICS[metric]) * row["difference"])
    time = (inputs.timing or {}).get((model, method))
    if time:
        cells |= {SECONDS: time[SECONDS], "forward_passes": time["ratio"]}
    if (model, method, SECONDS) in published:
        cells[f"{SECONDS}_published"] = float(published[model, method, SECONDS]["published"])
    return cells


def _marked(inputs: TableInputs, rows: Sequence[dict[str, object]], metrics: Sequence[str]) -> list[Row]:
    """Return the rows of a model with the best of its methods bold and the second best underlined, metric by metric.

    Values count as they are shown. A place that more than a few methods share is not marked.
    """
    ranked = [n for n, cells in enumerate(rows) if _ranked(inputs, cells["method"])]
    bold, underlined = ([set() for _ in rows] for _ in range(2))
    for metric in metrics:
        values = {n: _shown(inputs, rows[n][metric], metric) for n in ranked if metric in rows[n] and len(ranked) > 1}
        up = METRICS[metric].direction == "up"
        for value, keys in zip(sorted(set(values.values()), reverse=up), (bold, underlined), strict=False):
            sharing = [n for n in values if values[n] == value]
            if len(sharing) <= SHARED:
                for n in sharing:
                    keys[n].add(metric)
    marks = zip(rows, bold, underlined, strict=True)
    return [Row(cells, bold=frozenset(best), underlined=frozenset(second)) for cells, best, second in marks]


def _ranked(inputs: TableInputs, method: str) -> bool:
    return method in inputs.study["methods"] and inputs.study["catalog"]["methods"][method]["ranked"]


def _shown(inputs: TableInputs, value: Estimate, metric: str) -> float:
    """Return a value with the digits that tables show."""
    return float(cell(_columns(inputs, metric, False)[0], Row({metric: value})).value)


def _published(inputs: TableInputs, metrics: Sequence[str]) -> dict[Key, pd.Series]:
    if inputs.published is None:
        return {}
    scores = inputs.scores[inputs.scores["metric"].isin(metrics)]
    times = [
        {
            "dataset": inputs.dataset["dataset"],
            "model": model,
            "method": method,
            "metric": SECONDS,
            "mean": time[SECONDS],
        }
        for (model, method), time in (inputs.timing or {}).items()
    ]
    measured = inputs.as_published(pd.concat([scores, pd.DataFrame(times)], ignore_index=True))
    joined = join_published(measured, inputs.published, protocols=inputs.study["catalog"]["protocols"])
    found = joined[joined["published"].notna()]
    return {(row["model"], row["method"], row["metric"]): row for _, row in found.iterrows()}


def _notes(
    inputs: TableInputs, metrics: Sequence[str], facts: Sequence[str], published: Mapping[Key, pd.Series]
) -> Iterator[str]:
    study, scores = inputs.study, inputs.scores[inputs.scores["metric"].isin(metrics)]
    counts = notes.images(inputs, scores["n"])
    yield f"Dataset: {inputs.dataset['dataset']}, {counts}. Metrics are defined in docs/metrics.md."
    yield from notes.targets(inputs, study["methods"])
    yield from facts
    yield "Bold: best method of a model, underlined (italic in Markdown): second best, by the arrow's direction."
    unranked = [inputs.method_title(name) for name in study["methods"] if not _ranked(inputs, name)]
    if unranked or study["controls"]:
        names = [*unranked, *(inputs.method_title(name) for name in study["controls"])]
        yield f"Not ranked, as they explain nothing: {', '.join(names)}."
    if len(study["models"]) > 1 and study["controls"]:
        yield "Controls are the same maps for every model."
    yield from pairs.told(inputs, metrics)
    of_one = scores[scores["metric"] == next((name for name in metrics if name in set(scores["metric"])), None)]
    yield notes.degenerate(inputs, of_one, scored="scored as each metric says")
    if study["show_intervals"]:
        yield notes.intervals(inputs)
    else:
        yield f"The CSV file has confidence intervals. {notes.intervals(inputs)}"
    yield from notes.published(published.values() if published else ())
