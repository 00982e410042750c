"""The table of every score: all numbers of the long table, those of a user's metric too, in each format."""

import csv
import dataclasses
import io

import pandas as pd
import pytest
from studies import SCORE, make_inputs, make_method_inputs

from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import Metric
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS


def make(inputs):
    return TABLES["scores"].function(inputs)


def read_csv(table):
    return list(csv.DictReader(io.StringIO(RENDERERS["csv"](table))))


def numbers(inputs):
    """Return (model, method, metric) with mean and interval as printed, and n, from the long table."""
    found = {}
    for row in inputs.scores.to_dict("records"):
        scale = 100 if METRICS[row["metric"]].unit == "%" else 1
        values = [scale * row[name] for name in ("mean", "ci_low", "ci_high")]
        found[row["model"], row["method"], row["metric"]] = [*values, row["n"], row["n_degenerate"]]
    return found


@pytest.mark.parametrize("inputs", [make_inputs(degenerate=[("resnet_mini", "gradcam", 3)]), make_method_inputs()])
def test_every_number_of_the_long_table_is_there_once(inputs):
    found = {}
    for row in read_csv(make(inputs)):
        for metric in {*inputs.scores["metric"]}:
            if row[metric]:
                values = [row[metric + end] for end in ("", "_ci_low", "_ci_high", "_n", "_n_degenerate")]
                key = (row["model"], row["method"], metric)
                assert key not in found
                found[key] = [float(value) for value in values]
    expected = numbers(inputs)
    assert found.keys() == expected.keys()
    for key, values in found.items():
        assert values == pytest.approx(expected[key], abs=1e-5), key


def test_a_metric_of_the_user_has_a_column_without_further_code(monkeypatch):
    """As `METRICS.register` in a user's module leaves it."""
    facts = ("agreement", "down", (0.0, 1.0), "image", "My distance", "a test", ("heatmap", "human_map"), "%")
    monkeypatch.setitem(METRICS._entries, "my_distance", Metric("my_distance", lambda maps, human: None, *facts))
    inputs = make_inputs()
    own = [["digits_clickme", "resnet_mini", "gradcam", "my_distance", 0.1234, 0.1101, 0.1402, 384, 0]]
    scores = pd.concat([inputs.scores, pd.DataFrame(own, columns=SCORE)], ignore_index=True)
    table = make(dataclasses.replace(inputs, scores=scores))
    (row,) = [row for row in read_csv(table) if row["my_distance"]]
    assert (row["model"], row["method"], float(row["my_distance"])) == ("resnet_mini", "gradcam", 12.34)
    for extension in ("md", "html"):
        text = RENDERERS[extension](table)
        assert "My distance ↓ (%)" in text
        assert "12.3" in text
        assert "[11.0, 14.0]" in text
    assert "My distance" in RENDERERS["tex"](table)


def test_rows_begin_with_predictions_and_end_with_controls():
    inputs = make_inputs(architectures={"resnet_mini": "ResNet"}, methods=("gradcam",), controls=("random",))
    rows = [row["title"] for row in read_csv(make(inputs))]
    models = ("ResNet", "ResNet DCLS")
    assert rows == [name for title in models for name in (title, f"{title}, Grad-CAM")] + ["All models, Random"]
    columns = [column.key for column in make(inputs).columns if column.shown]
    assert columns == ["title", "top1", "dice_at_10", "alignment"]


def test_notes_say_by_which_protocols_and_on_how_many_images():
    notes = make(make_method_inputs()).notes
    assert any(note.startswith("Faithfulness: protocol rise_blunt, RISE, blurred less (step 1792,") for note in notes)
    (boxes,) = (note for note in notes if note.startswith("Localization: protocol boxes (iou [0.5]"))
    assert boxes.endswith("40 images.")
    flawed = make_inputs(degenerate=[("resnet_mini", "gradcam", 3)])
    (found,) = (note for note in make(flawed).notes if note.startswith("Degenerate"))
    assert found.endswith("scored as each metric says: ResNet-mini, Grad-CAM: 3.")
