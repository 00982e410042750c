"""The table of poolings: measured and published numbers, paired differences, and what a model adds."""

import csv
import dataclasses
import io

import pandas as pd
import pytest
from conftest import ROOT
from studies import FAITHFULNESS, SCORE

from camstudy.analysis.published import read_published
from camstudy.analysis.similarity import SIMILARITY
from camstudy.analysis.summary import Estimate, TableInputs
from camstudy.metrics.families import METRICS
from camstudy.tables import TABLES
from camstudy.tables.pooling import ABOUT, SHOWN
from camstudy.tables.render import RENDERERS

MODELS = ["resnet50_gap", "resnet50_ca"]
METHODS = {"gradcam": "Grad-CAM", "raw_attention": "Raw attention"}
COMPARISON = [
    *("dataset", "baseline", "variant", "method", "metric", "difference", "ci_low", "ci_high", "p", "p_corrected"),
    *("n", "n_tests"),
]
# Parameters and multiply-adds of ResNet-50 without and with a stream.
COSTS = {"resnet50_gap": (25_557_032, 4_089_184_256), "resnet50_ca": (32_526_184, 4_099_559_424)}
VALUES = {
    "average_drop": 0.13,
    "average_gain": 0.18,
    "average_increase": 0.44,
    "insertion_auc": 0.72,
    "deletion_auc": 0.11,
}


def make_inputs(published=None, intervals=False) -> TableInputs:
    scores, comparisons = [], []
    for n, model in enumerate(MODELS):
        scores.append(["imagenet_val", model, "", "top1", 0.7455 + 0.0015 * n, 0.74, 0.75, 50, 0])
        for method in METHODS:
            if method == "raw_attention" and not n:
                continue
            for metric, value in VALUES.items():
                mean = value + 0.05 * n
                scores.append(["imagenet_val", model, method, metric, mean, mean - 0.01, mean + 0.01, 50, 0])
    for metric in VALUES:
        p = {"average_gain": 0.0004, "insertion_auc": 0.03}.get(metric, 0.4)
        row = ["imagenet_val", *MODELS, "gradcam", metric, 0.05, 0.02, 0.08, p / 2, p, 50, 2]
        comparisons.append(row)
    study = {
        "study": "castream",
        "dataset": "imagenet_val",
        "prediction_dataset": None,
        "models": MODELS,
        "methods": list(METHODS),
        "controls": [],
        "comparisons": [{"baseline": MODELS[0], "variant": MODELS[1], "title": "ResNet-50"}],
        "show_intervals": intervals,
        "statistics": {"confidence": 0.95, "resamples": 999, "alpha": 0.05, "correction": "holm"},
        "degenerate": "score",
        "n_images": None,
        "catalog": {
            "methods": {name: {"title": title, "target": "label", "ranked": True} for name, title in METHODS.items()},
            "protocols": {
                "castream": {"family": "faithfulness", "title": "castream", **FAITHFULNESS},
                "speed": {"family": "cost", "title": "speed"},
            },
        },
    }
    return TableInputs(
        scores=pd.DataFrame(scores, columns=SCORE),
        comparisons=pd.DataFrame(comparisons, columns=COMPARISON),
        models={"resnet50_gap": {"title": "GAP"}, "resnet50_ca": {"title": "CA"}},
        study=study,
        dataset={"dataset": "imagenet_val", "human_maps": None},
        cost={
            name: {"parameters": parameters, "multiply_adds": {"dense": count, "taps": count}}
            for name, (parameters, count) in COSTS.items()
        },
        published=published,
    )


def table(**options):
    return TABLES["pooling"].function(make_inputs(**options))


def rows_of(made):
    return {(row["pooling"], row["method"]): row for row in csv.DictReader(io.StringIO(RENDERERS["csv"](made)))}


def test_rows_are_those_of_the_paper_with_differences():
    made = table()
    rows = rows_of(made)
    assert list(rows) == [
        *(("GAP", ""), ("CA", "")),
        *(("GAP", "gradcam"), ("CA", "gradcam"), ("CA − GAP", "gradcam")),
        ("CA", "raw_attention"),
    ]
    assert float(rows["GAP", ""]["top1"]) == pytest.approx(74.55)
    assert float(rows["GAP", ""]["gflops"]) == pytest.approx(8.178368512)
    about = rows["CA", ""]
    assert int(about["parameters"]) == 32_526_184
    assert int(about["stream_parameters"]) == 6_969_152
    assert float(about["added_parameters_percent"]) == pytest.approx(27.27, abs=0.005)
    assert float(about["added_gflops"]) == pytest.approx(0.020750336)
    assert rows["GAP", ""]["added_gflops"] == ""
    for metric in SHOWN:
        first, second, difference = (float(rows[name, "gradcam"][metric]) for name in ("GAP", "CA", "CA − GAP"))
        assert (first, second) == pytest.approx((100 * VALUES[metric], 100 * VALUES[metric] + 5))
        assert difference == pytest.approx(5)
        assert float(rows["CA − GAP", "gradcam"][f"{metric}_ci_low"]) == pytest.approx(2)
    assert float(rows["CA − GAP", "gradcam"]["insertion_auc_p_corrected"]) == pytest.approx(0.03)


def test_what_a_stream_adds_is_told_from_the_network_without():
    """A stream that is compared with another stream adds what it adds to the network."""
    inputs = make_inputs()
    models = [*MODELS, "resnet50_ca_s4"]
    pairs = [*inputs.study["comparisons"], {"baseline": MODELS[1], "variant": models[2], "title": "Stream"}]
    cost = {"parameters": 25_557_032 + 4_198_400, "multiply_adds": {"dense": 4_093_579_264, "taps": 0}}
    made = TABLES["pooling"].function(
        dataclasses.replace(
            inputs,
            study=inputs.study | {"models": models, "comparisons": pairs},
            models=inputs.models | {models[2]: {"title": "S4"}},
            cost=inputs.cost | {models[2]: cost},
        )
    )
    (row,) = [row for row in made.rows if row.cells["model"] == models[2] and not row.cells["method"]]
    assert row.cells["stream_parameters"] == 4_198_400
    assert row.cells["added_parameters_percent"] == pytest.approx(16.43, abs=0.005)
    assert [row.cells["title"] for row in made.rows if not row.cells["method"]] == ["ResNet-50"] * 2 + ["Stream"] * 2


def test_differences_have_intervals_and_marks():
    made = table()
    (row,) = [row for row in made.rows if row.cells["pooling"] == "CA − GAP"]
    assert row.marks == {"average_gain": "***", "insertion_auc": "*"}
    text = RENDERERS["md"](made)
    assert "[2.0, 8.0]" in text
    assert "[12.0, 14.0]" not in text
    assert "[12.0, 14.0]" in RENDERERS["md"](table(intervals=True))
    for form in RENDERERS.values():
        assert form(made)


def test_published_values_stand_beside_measured_ones():
    made = table(published=read_published(ROOT / "config/published/castream.csv"))
    rows = rows_of(made)
    about = rows["CA", ""]
    assert float(about["top1_published"]) == pytest.approx(74.70)
    assert float(about["parameters_published"]) == pytest.approx(32.53e6)
    assert float(about["added_parameters_percent_published"]) == pytest.approx(27.27)
    assert float(about["gflops_published"]) == pytest.approx(8.288)
    assert float(about["added_gflops_published"]) == pytest.approx(0.020)
    assert float(rows["GAP", "gradcam"]["average_drop_published"]) == pytest.approx(13.04)
    assert not any(rows["CA − GAP", "gradcam"][f"{metric}_published"] for metric in SHOWN)
    assert any("Compare the added operations" in note for note in made.notes)
    assert "Published" not in RENDERERS["md"](table())


def test_a_trial_is_compared_with_what_was_published_of_its_dataset():
    published = read_published(ROOT / "config/published/castream.csv")
    inputs = make_inputs(published=published)
    trial = dataclasses.replace(
        inputs,
        study=inputs.study | {"n_images": 50},
        scores=inputs.scores.assign(dataset="imagenet_val-n50"),
        dataset=inputs.dataset | {"dataset": "imagenet_val-n50"},
    )
    assert rows_of(TABLES["pooling"].function(trial)) == rows_of(TABLES["pooling"].function(inputs))


def test_every_published_number_of_imagenet_has_a_place():
    found = read_published(ROOT / "config/published/castream.csv")
    known = {*METRICS, *ABOUT}
    here = found[found["dataset"] == "imagenet_val"]
    assert len(here) > 250
    assert set(here["metric"]) <= known
    assert here["catalog_model"].ne("").all()
    assert here.loc[here["method"] != "", "catalog_method"].ne("").all()
    assert set(found["dataset"]) == {"imagenet_val", "cub200_test", "voc2012_val"}


def test_published_numbers_of_other_data_have_names_and_metrics():
    found = read_published(ROOT / "config/published/castream.csv")
    other = found[found["dataset"] != "imagenet_val"]
    names = {("cub200_test", name) for name in ("resnet50_cub", "resnet50_cub_castream")}
    names |= {("voc2012_val", name) for name in ("resnet50_voc", "resnet50_voc_castream")}
    assert {*zip(other["dataset"], other["catalog_model"], strict=True)} == names
    assert other.groupby("catalog_model").size().to_dict() == {name: 16 for _, name in names}
    assert set(other["metric"]) == {*SHOWN, "top1", "mean_average_precision"}
    assert other.loc[other["method"] != "", "catalog_method"].ne("").all()


def test_how_alike_maps_are_stands_in_the_rows_of_differences():
    inputs = make_inputs()
    row = ["imagenet_val", *MODELS, "gradcam", 0.83, 0.81, 0.85, 50, 1]
    similar = dataclasses.replace(inputs, similarity=pd.DataFrame([row], columns=SIMILARITY))
    made = TABLES["pooling"].function(similar)
    rows = rows_of(made)
    assert float(rows["CA − GAP", "gradcam"]["map_correlation"]) == 0.83
    assert float(rows["CA − GAP", "gradcam"]["map_correlation_ci_high"]) == 0.85
    assert not any(rows[name, "gradcam"]["map_correlation"] for name in ("GAP", "CA"))
    assert "0.83 [0.81, 0.85]" in RENDERERS["md"](made)
    assert any(note.startswith("Correlation of maps: mean over 50 images") for note in made.notes)
    for empty in (inputs, dataclasses.replace(inputs, similarity=similar.similarity[:0])):
        assert "Correlation of maps" not in RENDERERS["md"](TABLES["pooling"].function(empty))


def test_ablations_are_parts_with_what_was_published_of_each():
    inputs = make_inputs(published=read_published(ROOT / "config/published/castream.csv"))
    names = {"resnet50_projca": 18_126_272, "resnet50_ca_s1": 6_952_704, "resnet50_ca_s4": 4_198_400}
    titles = ("Block design", "Placement", "Placement")
    named = zip(names, titles, strict=True)
    pairs = [{"baseline": MODELS[1], "variant": name, "title": title} for name, title in named]
    models = [*MODELS, *names]
    row = inputs.scores[inputs.scores["model"] == MODELS[1]]
    cost = {name: {"parameters": 25_557_032 + more, "multiply_adds": {"dense": 0}} for name, more in names.items()}
    made = TABLES["ablation"].function(
        dataclasses.replace(
            inputs,
            study=inputs.study | {"models": models, "comparisons": [*inputs.study["comparisons"], *pairs]},
            models=inputs.models | {name: {"title": name} for name in names},
            cost=inputs.cost | cost,
            scores=pd.concat([inputs.scores, *(row.assign(model=name) for name in names)]),
        )
    )
    about = [row.cells for row in made.rows if not row.cells["method"]]
    assert [(cells["title"], cells["model"]) for cells in about] == [
        *(("ResNet-50", name) for name in MODELS),
        *(("Block design", name) for name in (MODELS[1], "resnet50_projca")),
        *(("Placement", name) for name in (MODELS[1], "resnet50_ca_s1", "resnet50_ca_s4")),
    ]
    # Tables 4 and 5 of the paper: parameters of the stream in millions, accuracy.
    published = {"resnet50_ca": (6.96, 74.70), "resnet50_projca": (18.13, 74.41), "resnet50_ca_s4": (4.20, 74.63)}
    for cells in about[2:]:
        if cells["model"] in published:
            found = [cells["stream_parameters_published"], cells["top1_published"].value]
            assert found == pytest.approx([published[cells["model"]][0] * 1e6, published[cells["model"]][1]])
            assert cells["stream_parameters"] == pytest.approx(found[0], abs=1.1e4)
    (gradcam,) = [r for r in made.rows if (r.cells["model"], r.cells["method"]) == ("resnet50_ca_s4", "gradcam")]
    assert gradcam.cells["insertion_auc_published"].value == pytest.approx(74.32)
    assert made.name == "ablation"
    for form in RENDERERS.values():
        assert form(made)


def test_values_are_estimates_that_tables_can_show():
    for row in table().rows:
        assert all(isinstance(row.cells[metric], Estimate) for metric in SHOWN if metric in row.cells)
