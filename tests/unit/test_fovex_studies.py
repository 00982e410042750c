"""The studies of FovEx: published numbers meet measured ones, the table of explanations, and what the methods cost."""

import dataclasses
from functools import cache

import pandas as pd
import pytest
import yaml
from conftest import ROOT
from studies import COMPARISON, SCORE

from camstudy.analysis.published import read_published
from camstudy.analysis.summary import TableInputs
from camstudy.explain.methods import bind
from camstudy.metrics.families import METRICS
from camstudy.pipeline.resources import estimate
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate
from camstudy.study.stated import stated_by
from camstudy.study.study import Study
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS

SCANPATHS = ("neva", "fovex_112", "fovex_112_wide")  # of the demo
STUDIES = ("fovex", "fovex_gaze", "fovex_voc", "fovex_ablation", "fovex_ablation_gaze", "fovex_demo")
PUBLISHED = read_published(ROOT / "config/published/fovex.csv")


@cache
def config(name):
    written = yaml.safe_load((ROOT / f"config/studies/{name}.yaml").read_text())
    return validate(with_catalogs(written, ROOT), check_files=False)


def measured(name, change=lambda key, value: value):
    """The inputs of a study's table of explanations, with a made-up number for whatever the study scores."""
    entry = config(name)
    study, rows = Study(entry), []
    for family in study.families:
        for model, method in study.maps(family):
            for metric in entry["catalog"]["protocols"][study.protocols[family]]["metrics"]:
                value = change((model, method, metric), 0.2 + 0.01 * (len(rows) % 50))
                rows.append([entry["dataset"], model, method, metric, value, value - 0.1, value + 0.1, 5000, 0])
    return TableInputs(
        scores=pd.DataFrame(rows, columns=SCORE),
        comparisons=pd.DataFrame([], columns=COMPARISON),
        models={model: {"title": entry["catalog"]["models"][model]["title"]} for model in study.models},
        study=stated_by(entry, TABLES["explanations"]) | {"show_intervals": False},
        dataset={"dataset": entry["dataset"], "human_maps": None},
        published=PUBLISHED if entry["published"] else None,
    )


def test_each_published_number_stands_beside_its_measured_one():
    tables = {name: TABLES["explanations"].function(measured(name)) for name in ("fovex", "fovex_gaze")}
    rows = {(row.cells["model"], row.cells["method"]): row.cells for row in tables["fovex"].rows}
    gains = PUBLISHED["metric"].str.startswith("nss_gain_over_")
    assert len(PUBLISHED) == 67
    for row in PUBLISHED[~gains].itertuples():
        cells = rows[row.catalog_model, row.catalog_method]
        factor = 1 if METRICS[row.metric].unit == row.unit else 100
        assert cells[f"{row.metric}_published"].value == pytest.approx(factor * row.value)
        assert cells[row.metric].value > 0
    # Relative gains are of no cell: a note has them, for both models.
    notes = [note for note in tables["fovex_gaze"].notes if note.startswith("NSS of FovEx over")]
    assert sorted({note.rpartition("(")[2] for note in notes}) == ["published: +14 %).", "published: +203 %)."]
    assert len(notes) == 2 * gains.sum()


def test_gains_of_nss_are_relative():
    nss = {"fovex_predicted": 1.2, "rise_predicted": 0.8, "gradcam_predicted": 0.5}
    inputs = measured("fovex_gaze", lambda key, value: nss.get(key[1], value) if key[2] == "nss" else value)
    notes = TABLES["explanations"].function(inputs).notes
    title = inputs.title("resnet50_tv")
    assert f"NSS of FovEx over RISE, {title}: +50 % (published: +14 %)." in notes
    assert f"NSS of FovEx over Grad-CAM, {title}: +140 % (published: +203 %)." in notes
    # Nothing follows where the other is no better than chance.
    nss["rise_predicted"] = -0.1
    inputs = measured("fovex_gaze", lambda key, value: nss.get(key[1], value) if key[2] == "nss" else value)
    assert not any("over RISE" in note for note in TABLES["explanations"].function(inputs).notes)


def test_best_and_second_best_of_a_model_go_by_the_direction():
    low, high = {"average_drop": 0.01, "nss": 0.9}, {"average_drop": 0.012, "nss": 0.8}

    def change(key, value):
        return {"fovex_112": low, "rise_400": high}.get(key[1], {}).get(
            key[2], 0.99 if key[2] == "average_drop" else 0.3
        )

    table = TABLES["explanations"].function(measured("fovex_demo", change))
    rows = {row.cells["method"]: row for row in table.rows}
    assert {"average_drop", "nss"} <= rows["fovex_112"].bold
    assert {"average_drop", "nss"} <= rows["rise_400"].underlined
    others = [row for name, row in rows.items() if name not in ("fovex_112", "rise_400")]
    assert not any({"average_drop", "nss"} & (row.bold | row.underlined) for row in others)
    # Only what has a scanpath is scored by it, and controls come without marks.
    assert {name for name, row in rows.items() if "scanmatch" in row.cells} == {*SCANPATHS, "human_observers"}
    assert not rows["human_observers"].bold
    assert "Published" not in RENDERERS["md"](table)


def test_published_columns_are_there_where_the_study_names_a_file():
    inputs = measured("fovex")
    text = RENDERERS["md"](TABLES["explanations"].function(inputs))
    assert text.count("Published") >= 5
    without = TABLES["explanations"].function(dataclasses.replace(inputs, published=None))
    assert "Published" not in RENDERERS["md"](without)


def test_methods_state_the_passes_that_they_take():
    """A pass forward and one back for each step of each fixation, and at most a tenth more."""
    found = 0
    for name in STUDIES:
        for entry in config(name)["catalog"]["methods"].values():
            if entry["method"] in ("fovex", "neva"):
                taken = bind(entry["method"], entry["parameters"]).parameters
                least = 2 * taken["fixations"] * taken["steps"]
                assert least <= entry["passes"] <= 1.1 * least
                found += 1
    assert found > len(STUDIES) * 20


def test_a_plan_s_time_follows_the_passes():
    entry = config("fovex")
    where = {"dataset": entry["dataset"], "model": "resnet50_tv"}
    fixed, each = 60 * entry["resources"]["rules"]["explain"]["minutes"], {}
    for method in ("gradcam", "fovex", "rise"):
        taken = estimate(entry, "explain", where | {"method": method}, gpu=True, images_of=lambda name: 6600)
        each[method] = (taken.seconds - fixed) / 6600
    assert each["fovex"] / each["gradcam"] == pytest.approx(410)
    assert each["rise"] / each["fovex"] == pytest.approx(4001 / 410)
    # Published of an A100 are tens of passes of ResNet-50 a millisecond: hours, not days.
    assert 1 < 6600 * each["fovex"] / 3600 < 100
