"""The tables over seeds: measured beside published numbers, paired differences, and both intervals."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from studies import FAITHFULNESS

from camstudy.analysis.published import read_published
from camstudy.analysis.seeds import SEEDS
from camstudy.analysis.summary import TableInputs
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS

PLAIN, GUIDED, OTHER = "resnet18_cifar100", "resnet18_cifar100_guided", "net"
METHODS = {"gradcam": "Grad-CAM", "score_cam_castream": "Score-CAM"}
TITLES = {PLAIN: "Plain", GUIDED: "Guided", OTHER: "Net"}


def row(baseline, model, method, metric, mean):
    spread = (mean - 0.02, mean + 0.02, mean - 0.01, mean + 0.01, 0.005)
    return ["cifar100_test", baseline, model, method, "castream_32" if method else "", metric, mean, *spread, 3, 100]


def make_inputs(published=None, gradients=True):
    table = []
    for n, model in enumerate(TITLES):
        table.append(row("", model, "", "top1", 0.7 + 0.01 * n))
        if gradients:
            table.append(row("", model, "input_gradient", "gradient_cosine", 0.3 + 0.1 * n))
        for method in METHODS:
            table.append(row("", model, method, "average_drop", 0.3 - 0.02 * n))
            table.append(row("", model, method, "insertion_auc", 0.6))
    table += [row(PLAIN, GUIDED, "", "top1", 0.01), row(PLAIN, GUIDED, "gradcam", "average_drop", -0.02)]
    study = {
        "study": "gradients",
        "dataset": "cifar100_test",
        "prediction_dataset": None,
        "methods": list(METHODS),
        "controls": [],
        "n_images": None,
        "statistics": {"confidence": 0.95, "resamples": 999},
        "replicates": {name: [f"{name}_seed{seed}" for seed in range(3)] for name in TITLES},
        "pairs": [[PLAIN, GUIDED, "ResNet-18"]],
        "catalog": {
            "methods": {name: {"title": title, "target": "label"} for name, title in METHODS.items()},
            "models": {name: {"title": title} for name, title in TITLES.items()},
            "protocols": {"castream_32": {"family": "faithfulness", "title": "castream_32", **FAITHFULNESS}},
        },
    }
    return TableInputs(
        scores=pd.DataFrame(),
        comparisons=pd.DataFrame(),
        models={},
        study=study,
        dataset={"dataset": "cifar100_test"},
        seeds=pd.DataFrame(table, columns=list(SEEDS)),
        published=published,
    )


@pytest.fixture(scope="module")
def published():
    return read_published(ROOT / "config/published/interpretable_gradients.csv")


def records(name, inputs):
    table = TABLES[name].function(inputs)
    return table, [*csv.DictReader(io.StringIO(RENDERERS["csv"](table)))]


def test_recognition_has_models_and_differences_with_both_intervals(published):
    table, rows = records("recognition", make_inputs(published))
    assert [(each["network"], each["title"]) for each in rows] == [
        ("ResNet-18", "Plain"),
        ("ResNet-18", "Guided"),
        ("ResNet-18", "Guided − Plain (seeds and images)"),
        ("ResNet-18", "Guided − Plain (images alone)"),
        ("Net", "Net"),
    ]
    # In percent, as published: 73.42 and 72.86.
    assert [float(each["top1"]) for each in rows[:4]] == pytest.approx([70, 71, 1, 1])
    assert [float(each["top1_published"]) for each in rows[:4]] == pytest.approx([73.42, 72.86, -0.56, -0.56])
    assert [float(each["top1_ci_low"]) for each in rows[2:4]] == pytest.approx([-1, 0])
    assert float(rows[0]["top1_seed_sd"]) == pytest.approx(0.5)
    assert [float(each["gradient_cosine"]) for each in rows[:2]] == pytest.approx([0.3, 0.4])
    assert rows[4]["top1_published"] == ""
    assert any("second-hand" in note for note in table.notes)
    for render in RENDERERS.values():
        assert "Guided" in render(table)


def test_interpretable_recognition_has_them_per_method(published):
    _, rows = records("interpretable_recognition", make_inputs(published))
    assert [(each["method"], each["title"]) for each in rows if each["network"] == "ResNet-18"] == [
        ("gradcam", "Plain"),
        ("gradcam", "Guided"),
        ("gradcam", "Guided − Plain (seeds and images)"),
        ("gradcam", "Guided − Plain (images alone)"),
        ("score_cam_castream", "Plain"),
        ("score_cam_castream", "Guided"),
    ]
    assert [float(each["average_drop_published"]) for each in rows[:3]] == pytest.approx([30.16, 28.09, -2.07])
    assert float(rows[4]["average_drop_published"]) == pytest.approx(26.49)
    assert float(rows[2]["average_drop"]) == pytest.approx(-2)


def test_without_published_values_there_is_no_column_of_them():
    table, _ = records("recognition", make_inputs(gradients=False))
    assert not any(column.header == "Published" for column in table.shown())
    assert not any(column.key == "method_title" for column in table.shown())


def test_all_published_numbers_find_their_place(published):
    own = published[published["metric"] != "lambda"]
    assert own["catalog_model"].str.fullmatch(r"(resnet18|mobilenet_v2)_cifar100(_guided)?").all()
    assert (own["catalog_method"] != "").eq(own["method"] != "").all()
    assert np.isfinite(own["value"]).all()
