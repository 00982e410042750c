"""The tables of methods: values, marks of the best, published values, and what readers are told."""

import csv
import dataclasses
import io

import pandas as pd
import pytest
from conftest import ROOT
from studies import COMPARISON, METHOD_TITLES, make_method_inputs

from camstudy.analysis.published import read_published
from camstudy.metrics.families import METRICS
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS

HEADER = "dataset,model,variant,method,catalog_model,catalog_method,metric,value,unit,table,page,source,verified,note\n"


def make(name, inputs):
    return TABLES[name].function(inputs)


def read_csv(table):
    return {(row["model"], row["method"]): row for row in csv.DictReader(io.StringIO(RENDERERS["csv"](table)))}


def cells(table, row):
    return {key: row.cells.get(key) for key in ("model", "method")}


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "opticam.csv"
    path.write_text(
        HEADER
        + "boxes,Net,,Opti-CAM,net,opti_cam,average_gain,66.3,%,t,,the paper,true,\n"
        + "boxes,Net,,Opti-CAM,net,opti_cam,seconds_per_image,0.5,s,t,,the paper,true,\n"
        + "boxes,Net,,Grad-CAM,net,gradcam,pixel_f1,40.0,%,t,,the slides,false,\n"
    )
    return read_published(path)


def test_numbers_are_those_of_the_long_table():
    inputs = make_method_inputs()
    rows = read_csv(make("faithfulness", inputs))
    assert list(rows) == [("net", method) for method in [*METHOD_TITLES, "center_bias"]]
    scores = inputs.scores.set_index(["model", "method", "metric"])
    for (model, method), row in rows.items():
        for metric in ("average_drop", "deletion_auc"):
            expected = 100 * scores.loc[model, method, metric][["mean", "ci_low", "ci_high"]].astype(float)
            found = [float(row[metric + end]) for end in ("", "_ci_low", "_ci_high")]
            assert found == pytest.approx(expected.tolist(), abs=1e-5)
            assert row[f"{metric}_n"] == "48"
    assert float(rows["net", "opti_cam"]["seconds_per_image"]) == pytest.approx(10)
    assert float(rows["net", "opti_cam"]["forward_passes"]) == pytest.approx(1500)
    assert rows["net", "center_bias"]["seconds_per_image"] == ""


def test_a_control_s_place_is_the_same_for_all_models():
    inputs = make_method_inputs(models=("net", "other"))
    rows = read_csv(make("localization", inputs))
    assert {model for model, _ in rows} == {"net", "other"}
    for model in ("net", "other"):
        assert rows[model, "center_bias"]["pixel_f1"] == "40.0"
    # The saliency metric asks a model.
    assert len({rows[model, "center_bias"]["saliency_metric"] for model in ("net", "other")}) == 2


def test_marks_go_by_what_is_shown_and_not_to_many():
    inputs = make_method_inputs()
    scores = inputs.scores
    wanted = scores["metric"] == "average_drop"
    scores.loc[wanted, "mean"] = 0.5
    scores.loc[wanted & (scores["method"] == "gradcam"), "mean"] = 0.30001
    scores.loc[wanted & (scores["method"] == "opti_cam"), "mean"] = 0.30002
    rows = {row.cells["method"]: row for row in make("faithfulness", inputs).rows}
    assert [name for name, row in rows.items() if "average_drop" in row.bold] == ["gradcam", "opti_cam"]
    assert [name for name, row in rows.items() if "average_drop" in row.underlined] == ["score_cam"]
    names = [f"method_{n}" for n in range(4)]
    entries = {name: {"title": name, "target": "label", "ranked": True} for name in names}
    study = inputs.study | {"methods": names, "controls": [], "catalog": inputs.study["catalog"] | {"methods": entries}}
    equal = pd.DataFrame([{**scores.iloc[0], "method": name, "metric": "average_drop"} for name in names])
    table = make("faithfulness", dataclasses.replace(inputs, study=study, scores=equal, timing=None))
    assert not any(row.bold or row.underlined for row in table.rows)


@pytest.mark.parametrize("name", ["faithfulness", "localization"])
def test_best_and_second_best_follow_the_direction(name):
    inputs = make_method_inputs(models=("net", "other"))
    table = make(name, inputs)
    checked = 0
    for model in ("net", "other"):
        ranked = [row for row in table.rows if row.cells["model"] == model and row.cells["method"] in METHOD_TITLES]
        ranked = [row for row in ranked if row.cells["method"] != "fake_cam"]
        for metric in METRICS:
            values = [row.cells[metric].value for row in ranked if metric in row.cells]
            if not values:
                continue
            order = sorted(values, reverse=METRICS[metric].direction == "up")
            bold = [row.cells[metric].value for row in ranked if metric in row.bold]
            second = [row.cells[metric].value for row in ranked if metric in row.underlined]
            assert (bold, second) == ([order[0]], [order[1]])
            checked += 1
    assert checked >= 10
    for row in table.rows:
        if row.cells["method"] in ("fake_cam", "center_bias"):
            assert not row.bold
            assert not row.underlined


def compared(name, intervals=False):
    """Return the table of two compared models, whose differences are made up, and these."""
    inputs = make_method_inputs(models=("net", "other"), intervals=intervals)
    metrics = ["average_drop", "insertion_auc", "pixel_f1", "pointing_game"]
    rows = [
        ("boxes", "net", "other", method, metric, 0.0004 * (-1) ** n, -0.002, 0.002, 0.01, 0.04, 48, 8)
        if method == "gradcam"
        else ("boxes", "net", "other", method, metric, -0.031, -0.052, -0.012, 0.0001, 0.0008, 48, 8)
        for method in METHOD_TITLES
        for n, metric in enumerate(metrics)
    ]
    pair = {"title": "Net", "baseline": "net", "variant": "other"}
    comparisons = pd.DataFrame(rows, columns=COMPARISON)
    inputs = dataclasses.replace(inputs, comparisons=comparisons, study=inputs.study | {"comparisons": [pair]})
    return comparisons.set_index(["method", "metric"]), make(name, inputs)


@pytest.mark.parametrize(
    ("name", "metrics"),
    [("faithfulness", ["average_drop", "insertion_auc"]), ("localization", ["pixel_f1", "pointing_game"])],
)
def test_models_are_compared_with_intervals_and_tests(name, metrics):
    known, table = compared(name)
    rows = [row for row in table.rows if row.cells.get("baseline")]
    assert [row.cells["title"] for row in rows] == [f"OTHER − NET, {title}" for title in METHOD_TITLES.values()]
    header, *lines = csv.reader(io.StringIO(RENDERERS["csv"](table)))
    lines = [dict(zip(header, line, strict=True)) for line in lines]
    for row, line in zip(rows, [line for line in lines if line["baseline"]], strict=True):
        method = row.cells["method"]
        for metric in metrics:
            expected = known.loc[method, metric]
            numbers = [float(line[metric + end]) for end in ("", "_ci_low", "_ci_high")]
            assert numbers == pytest.approx([100 * expected[key] for key in ("difference", "ci_low", "ci_high")])
            assert float(line[f"{metric}_p_corrected"]) == expected["p_corrected"]
            # Below the level, but the interval has 0 in it.
            assert row.marks.get(metric, "") == ("" if method == "gradcam" else "***")
            assert (row.bold, row.underlined) == (frozenset(), frozenset())
    text = RENDERERS["md"](table)
    assert "-3.1*** [-5.2, -1.2]" in text
    assert "+0.04    [-0.20, 0.20]" in text
    notes = "\n".join(table.notes)
    assert "Holm-corrected for 8 tests of each metric" in notes
    assert "Marks: * p < 0.05, ** p < 0.01, *** p < 0.001" in notes
    assert ("Of the whole dataset, and not compared image by image: " in notes) == (name == "localization")
    assert "Rows with a minus" not in "\n".join(make(name, make_method_inputs()).notes)


def test_published_values_stand_beside_measured_ones(published):
    inputs = make_method_inputs(published=published)
    table = make("faithfulness", inputs)
    row = read_csv(table)["net", "opti_cam"]
    assert float(row["average_gain_published"]) == pytest.approx(66.3)
    difference = float(row["average_gain"]) - 66.3
    assert float(row["average_gain_difference"]) == pytest.approx(difference, abs=1e-4)
    assert float(row["seconds_per_image_published"]) == pytest.approx(0.5)
    text = RENDERERS["md"](table)
    assert "Average gain ↑ (%)" in text
    assert "Published" in text
    assert any(note == "Published: 2 values; the paper." for note in table.notes)
    found = make("localization", inputs).notes
    assert any("1 of them are second-hand or inferred" in note for note in found)
    # A trial is compared with what was published of its dataset.
    trial = dataclasses.replace(
        inputs,
        study=inputs.study | {"n_images": 64},
        scores=inputs.scores.assign(dataset="boxes-n64"),
        dataset=inputs.dataset | {"dataset": "boxes-n64"},
    )
    assert read_csv(make("faithfulness", trial)) == read_csv(table)
    # Without any, no column is said to be measured.
    assert "Measured" not in RENDERERS["md"](make("faithfulness", make_method_inputs()))


def test_intervals_are_shown_on_request():
    plain, full = (make("faithfulness", make_method_inputs(intervals=wanted)) for wanted in (False, True))
    assert "[" not in "".join(RENDERERS["md"](plain).split("\n\n")[1])
    value = next(row for row in full.rows if row.cells["method"] == "gradcam").cells["average_drop"]
    assert f"[{value.low:.1f}, {value.high:.1f}]" in RENDERERS["md"](full)
    assert RENDERERS["csv"](plain) == RENDERERS["csv"](full)


def test_notes_name_protocol_class_and_what_is_not_ranked():
    notes = " ".join(make("faithfulness", make_method_inputs()).notes)
    said = "protocol rise_blunt, RISE, blurred less (step 1792, start blurred, target mean, blur 5, normalize resized):"
    assert said in notes
    assert "Explained class: the image's label." in notes
    assert "Not ranked, as they explain nothing: Fake-CAM, Center bias." in notes
    assert "NVIDIA A100, batches of 32" in notes
    notes = " ".join(make("localization", make_method_inputs()).notes)
    assert "within 15 pixels" in notes
    assert "40 to 48 images" in notes


@pytest.mark.parametrize("name", ["faithfulness", "localization"])
def test_second_best_is_underlined_in_every_format(name):
    table = make(name, make_method_inputs())
    assert r"\underline{" in RENDERERS["tex"](table)
    assert "<u>" in RENDERERS["html"](table)
    assert r"$\downarrow$" in RENDERERS["tex"](table)


def test_published_methods_are_those_of_the_study():
    import yaml

    study = yaml.safe_load((ROOT / "config/studies/opticam.yaml").read_text())
    table = read_published(ROOT / study["published"])
    # Nothing was published of the network that shows what hangs on a guess.
    assert {*table["catalog_model"], "vgg16"} == set(study["models"])
    assert set(table["catalog_method"]) == set(study["methods"])
    assert set(table["metric"]) <= {*METRICS, "seconds_per_image"}
    assert set(table["dataset"]) == {study["dataset"]}
