"""Tables of sweeps and costs: every number is that of the inputs, looked up by plain iteration."""

import csv
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from studies import ARCHITECTURES, FLOORS, STAGES, make_inputs, with_sweeps

from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS, to_csv, to_markdown
from camstudy.tables.table import Column, Row, cell

METHODS = ("gradcam", "threshold_gradcam")
METHOD_COLUMNS = ["method", "catalog_model", "catalog_method", "metric", "value"]
MODELS = [name + suffix for name in ARCHITECTURES for suffix in ("", "_dcls")]
ENDS = {"": "mean", "_ci_low": "ci_low", "_ci_high": "ci_high"}


@pytest.fixture
def inputs():
    return with_sweeps(make_inputs())


def make(name, inputs):
    return TABLES[name].function(inputs)


def csv_rows(table):
    return {row["model"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}


def found(frame, model, method, **where):
    """Return the only record of a model and method; a value of None stands for NaN."""
    records = [
        record
        for record in frame.to_dict("records")
        if (record["model"], record["method"]) == (model, method)
        and all(np.isnan(record[key]) if value is None else record[key] == value for key, value in where.items())
    ]
    assert len(records) == 1
    return records[0]


def test_the_changes_of_threshold_gradcam_are_told_apart(inputs):
    rows = csv_rows(make("threshold_sweep", inputs))
    assert list(rows) == MODELS
    cells = {
        "neither": ("gradcam", None),
        "relu_before": ("threshold_gradcam", None),
        "floor": ("gradcam", 0.3),
        "both": ("threshold_gradcam", 0.3),
    }
    for model in MODELS:
        for key, (method, floor) in cells.items():
            expected = found(inputs.sweep, model, method, floor=floor)
            for end, column in ENDS.items():
                assert float(rows[model][f"{key}_alignment{end}"]) == pytest.approx(expected[column], abs=1e-6)


def test_the_best_floor_is_that_of_the_highest_alignment(inputs):
    rows = csv_rows(make("threshold_sweep", inputs))
    for model in MODELS:
        for role, method in (("relu_after", "gradcam"), ("relu_before", "threshold_gradcam")):
            means = [found(inputs.sweep, model, method, floor=floor)["mean"] for floor in FLOORS]
            best = FLOORS[int(np.argmax(means))]
            assert rows[model][f"{role}_best_floor"] == ("none" if best is None else f"{best:g}")
            assert float(rows[model][f"{role}_best_alignment"]) == pytest.approx(max(means), abs=1e-6)


def test_layers_have_a_column_for_each_method_and_stage(inputs):
    table = make("layer_sweep", inputs)
    assert [column.header for column in table.shown()] == ["Model", *[f"Stage {stage}" for stage in STAGES] * 2]
    rows = csv_rows(table)
    for model in MODELS:
        for method in METHODS:
            for stage in STAGES:
                expected = found(inputs.layers, model, method, stage=stage)["mean"]
                assert float(rows[model][f"{method}_stage{stage}"]) == pytest.approx(expected, abs=1e-6)


def test_costs_stand_beside_alignment(inputs):
    rows = csv_rows(make("cost", inputs))
    assert list(rows) == MODELS
    for model in MODELS:
        row, record = rows[model], inputs.cost[model]
        assert int(row["parameters"]) == record["parameters"]
        assert int(row["multiply_adds_dense"]) == record["multiply_adds"]["dense"]
        assert int(row["multiply_adds_taps"]) == record["multiply_adds"]["taps"]
        assert float(row["images_per_second_folded"]) == pytest.approx(record["images_per_second"]["folded"])
        unfolded = record["images_per_second"]["unfolded"]
        assert row["images_per_second_unfolded"] == ("" if unfolded is None else str(unfolded))
        assert (row["peak_memory_mb_unfolded"] == "") == (unfolded is None)
        for method in METHODS:
            expected = found(inputs.scores[inputs.scores["metric"] == "alignment"], model, method)["mean"]
            assert float(row[f"{method}_alignment"]) == pytest.approx(expected, abs=1e-6)


def test_notes_name_the_device_and_the_models_of_another(inputs):
    def timing(table):
        return next(note for note in table.notes if note.startswith("Images/s"))

    assert "10 after 3 of warm-up, batches of 32, NVIDIA A100. Folded" in timing(make("cost", inputs))
    cost = {**inputs.cost, "resnet_mini": inputs.cost["resnet_mini"] | {"device": "CPU, 2 threads"}}
    note = timing(make("cost", dataclasses.replace(inputs, cost=cost)))
    assert "batches of 32, CPU, 2 threads (ResNet-mini); 10 after" in note


def test_degenerate_maps_are_counted_once_and_with_their_stage(inputs):
    for frame in (inputs.sweep, inputs.layers):
        frame.loc[(frame["model"] == "resnet_mini") & (frame["method"] == "gradcam"), "n_degenerate"] = 7
    frame = inputs.layers
    frame.loc[frame["stage"] != 2, "n_degenerate"] = 0
    notes = "\n".join(make("threshold_sweep", inputs).notes)
    assert "scored as 0: ResNet-mini, Grad-CAM: 7." in notes
    assert "ResNet-mini, Grad-CAM, stage 2: 7." in "\n".join(make("layer_sweep", inputs).notes)


@pytest.mark.parametrize("name", ["threshold_sweep", "layer_sweep", "cost"])
def test_architectures_are_parted_and_models_without_scores_have_dashes(inputs, name):
    frames = {key: getattr(inputs, key) for key in ("sweep", "layers", "scores")}
    without = {key: frame[frame["model"] != "resnet_mini"] for key, frame in frames.items()}
    table = make(name, dataclasses.replace(inputs, **without))
    assert [len(section) for section in table.sections()] == [2] * 4
    for text in (render(table) for render in RENDERERS.values()):
        assert "ResNet-mini DCLS" in text
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("| ResNet-mini  ")]
    assert "–" in lines[-1]


def test_models_in_no_comparison_have_rows():
    inputs = with_sweeps(make_inputs(compare=False))
    for name in ("threshold_sweep", "layer_sweep", "cost"):
        assert list(csv_rows(make(name, inputs))) == MODELS


@pytest.mark.parametrize(
    ("format", "value", "text"),
    [
        ("billions", 12_310_020_096, "12.3"),
        ("billions", 4_099_184_256, "4.10"),
        ("billions", 11_340_000, "0.0113"),
        ("number", 3826.6, "3,830"),
        ("number", 99.96, "100"),
        ("number", 17.237, "17.2"),
        ("number", 0.0, "0"),
    ],
)
def test_three_significant_digits(format, value, text):
    assert cell(Column("key", format=format), Row({"key": value})).value == text


PUBLISHED = {
    "protocol": "",
    "dataset": "digits_clickme",
    "model": "ResNet",
    "variant": "",
    "unit": "%",
    "table": "1",
    "page": "",
    "source": "Someone 2020",
    "verified": True,
    "note": "",
}


def test_published_values_stand_beside_measured_ones():
    inputs = make_inputs()
    model = MODELS[0]
    known = [
        PUBLISHED | {"method": "", "catalog_model": model, "catalog_method": "", "metric": "top1", "value": 95.5},
        PUBLISHED
        | {
            **{"method": "Grad-CAM", "catalog_model": model, "catalog_method": "gradcam", "metric": "alignment"},
            **{"value": 0.5, "unit": "1", "verified": False},
        },
    ]
    inputs = dataclasses.replace(inputs, published=pd.DataFrame(known))
    table = make("published", inputs)
    rows = {(row["model"], row["method"]): row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    assert set(rows) == {(name, method) for name in MODELS for method in ("", *METHODS)}
    top1 = found(inputs.scores, model, "", metric="top1")["mean"]
    assert float(rows[model, ""]["top1_measured"]) == pytest.approx(100 * top1)
    assert float(rows[model, ""]["top1_published"]) == pytest.approx(95.5)
    assert float(rows[model, ""]["top1_difference"]) == pytest.approx(100 * top1 - 95.5)
    alignment = found(inputs.scores, model, "gradcam", metric="alignment")["mean"]
    assert float(rows[model, "gradcam"]["alignment_difference"]) == pytest.approx(alignment - 0.5)
    # Nothing was published for the others, nor of this model with the other method.
    others = [row for key, row in rows.items() if key not in ((model, ""), (model, "gradcam"))]
    assert all(row["top1_published"] == row["alignment_published"] == "" for row in others)
    assert any("2 of " in note for note in table.notes)
    assert any("1 of them are second-hand" in note for note in table.notes)
    for render in RENDERERS.values():
        assert "Someone 2020" in render(table)


NETWORKS = [
    PUBLISHED
    | {"method": "", "catalog_model": MODELS[0], "catalog_method": "", "dataset": "imagenet_val"}
    | {"metric": metric, "value": value, "unit": unit}
    for metric, value, unit in (("parameters", 28, "M"), ("gmacs", 4.5, "GMAC"))
]
TOP5 = PUBLISHED | {"method": "", "catalog_model": MODELS[1], "catalog_method": "", "metric": "top5", "value": 90.0}


def test_all_that_was_published_is_shown_where_it_is_measured(inputs):
    row = found(inputs.scores, MODELS[1], "", metric="top1")
    scores = pd.concat([inputs.scores, pd.DataFrame([{**row, "metric": "top5"}])], ignore_index=True)
    known = pd.DataFrame([*NETWORKS, TOP5])
    inputs = dataclasses.replace(inputs, published=known, scores=scores)
    table = make("published", inputs)
    rows = {(row["model"], row["method"]): row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    first = rows[MODELS[0], ""]
    # A network costs the same on any data.
    parameters, dense = inputs.cost[MODELS[0]]["parameters"], inputs.cost[MODELS[0]]["multiply_adds"]["dense"]
    for key, measured, value in (("parameters", parameters / 1e6, 28), ("gmacs", dense / 1e9, 4.5)):
        assert float(first[f"{key}_measured"]) == pytest.approx(measured)
        assert float(first[f"{key}_published"]) == pytest.approx(value)
        assert float(first[f"{key}_difference"]) == pytest.approx(measured - value)
    assert float(rows[MODELS[1], ""]["top5_difference"]) == pytest.approx(100 * row["mean"] - 90)
    assert "gflops_measured" not in first
    # Operations are counted for another table, or not at all; parameters are in the models' records.
    alone = make("published", dataclasses.replace(inputs, cost=None))
    assert {"parameters_measured", "gmacs_measured"} & {column.key for column in alone.columns} == {
        "parameters_measured"
    }


def test_published_costs_stand_beside_measured_ones(inputs):
    known = pd.DataFrame([*NETWORKS, NETWORKS[1] | {"catalog_model": MODELS[1], "metric": "gflops", "value": 9.0}])
    table = make("cost", dataclasses.replace(inputs, published=known))
    rows = csv_rows(table)
    assert float(rows[MODELS[0]]["parameters_published"]) == pytest.approx(28)
    assert float(rows[MODELS[0]]["multiply_adds_published"]) == pytest.approx(4.5)
    # Two operations are one multiplication with its addition.
    assert float(rows[MODELS[1]]["multiply_adds_published"]) == pytest.approx(4.5)
    assert [c.header for c in table.shown() if c.group == "Parameters (M)"] == ["Measured", "Published"]
    assert any(note.startswith("Published: 3 values; Someone 2020") for note in table.notes)
    assert [c.header for c in make("cost", inputs).shown()][2] == "Parameters (M)"


def test_without_published_values_the_column_stays_away():
    inputs = dataclasses.replace(make_inputs(), published=pd.DataFrame(columns=list(PUBLISHED) + METHOD_COLUMNS))
    table = make("published", inputs)
    assert [column.key for column in table.shown()] == ["title", "top1_measured", "alignment_measured"]
