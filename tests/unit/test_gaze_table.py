"""The table of gaze, from scores of images: differences from the center bias, tests, and what the notes say."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from scipy.stats import false_discovery_control, wilcoxon

from camstudy.analysis.aggregate import Settings, compare, compare_with_control, summarize
from camstudy.analysis.summary import TableInputs
from camstudy.core.names import CONTROL
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS

N, RNG = 30, np.random.default_rng(0)
METRICS = ["nss", "auc_judd"]
TITLES = {"gradcam": "Grad-CAM", "rise": "RISE", "people": "Humans", "others": "Center bias", "random": "Random"}
LEVELS = {("net", "gradcam"): 0.9, ("net", "rise"): 0.52, ("dcls", "gradcam"): 1.2, ("dcls", "rise"): 0.6}
LEVELS |= {(CONTROL, "others"): 0.5, (CONTROL, "people"): 2.0}


def frames():
    found, common = {}, RNG.normal(0, 0.3, N)
    for key, level in LEVELS.items():
        nss = level + common + RNG.normal(0, 0.2, N)
        frame = pd.DataFrame({"image": np.arange(N), "nss": nss, "auc_judd": 0.5 + nss / 10})
        frame["n_fixations"], frame["n_fixations_dropped"], frame["degenerate"] = 9, 1, False
        frame.loc[4, METRICS] = np.nan  # nobody looked there
        found[key] = frame
    # One person alone is no ceiling.
    found[CONTROL, "people"].loc[7, METRICS] = np.nan
    return found


def make(simulated=False, intervals=True, correction="holm", compared=True):
    settings = Settings(resamples=199, correction=correction)
    scored, about = frames(), {"dataset": "eyes", "settings": settings, "protocol": "gaze"}
    comparisons = [compare_with_control(scored, "others", **about)]
    if compared:
        comparisons.append(compare(scored, [("net", "dcls")], ceiling=None, **about))
    entries = {name: {"title": title, "target": "predicted", "ranked": True} for name, title in TITLES.items()}
    protocol = {"family": "gaze", "title": "gaze", "metrics": METRICS, "baseline": "center_bias"}
    study = {
        "models": ["net", "dcls"],
        "methods": ["gradcam", "rise"],
        # Random maps are not scored here.
        "controls": ["people", "others", "random"],
        "comparisons": [{"baseline": "net", "variant": "dcls", "title": "Net"}] if compared else [],
        "show_intervals": intervals,
        "statistics": {"confidence": 0.95, "resamples": 199, "alpha": 0.05, "correction": correction},
        "degenerate": "score",
        "catalog": {"methods": entries, "protocols": {"gaze": protocol}},
    }
    inputs = TableInputs(
        scores=summarize(scored, ceiling=None, **about),
        comparisons=pd.concat(comparisons, ignore_index=True),
        models={"net": {"title": "Net"}, "dcls": {"title": "Net DCLS"}},
        study=study,
        dataset={"dataset": "eyes", "human_maps": "simulated" if simulated else "recorded"},
    )
    return scored, inputs, TABLES["gaze"].function(inputs)


@pytest.fixture(autouse=True)
def same_numbers(monkeypatch):
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(0))


def rows_of(table):
    rows = csv.DictReader(io.StringIO(RENDERERS["csv"](table)))
    return {(row["model"], row["method"], row["baseline"]): row for row in rows}


def test_rows_are_controls_methods_and_differences():
    _, _, table = make()
    assert [*rows_of(table)] == [
        *[(CONTROL, "people", ""), (CONTROL, "others", "")],
        *[("net", "gradcam", ""), ("net", "rise", "")],
        *[("dcls", "gradcam", ""), ("dcls", "gradcam", "net"), ("dcls", "rise", ""), ("dcls", "rise", "net")],
    ]


@pytest.mark.parametrize("correction", ["holm", "benjamini_hochberg"])
def test_numbers_and_tests_are_those_of_the_images(correction):
    scored, _, table = make(correction=correction)
    rows, p = rows_of(table), []
    keys = [key for key in LEVELS if key[0] != CONTROL]
    for key in keys:
        both = scored[key]["nss"].dropna(), scored[CONTROL, "others"]["nss"].dropna()
        row = rows[*key, ""]
        assert float(row["nss"]) == pytest.approx(both[0].mean(), abs=1e-5)
        assert float(row["nss_over_center"]) == pytest.approx((both[0] - both[1]).mean(), abs=1e-5)
        p.append(wilcoxon(both[0] - both[1], zero_method="pratt").pvalue)
        assert float(row["nss_p"]) == pytest.approx(p[-1], rel=1e-3)
        assert row["nss_n"] == "29"
    if correction == "holm":
        order, corrected = np.argsort(p), np.empty(4)
        corrected[order] = np.minimum(np.maximum.accumulate(np.array(p)[order] * [4, 3, 2, 1]), 1)
    else:
        corrected = false_discovery_control(p)
    found = [float(rows[*key, ""]["nss_p_corrected"]) for key in keys]
    np.testing.assert_allclose(found, corrected, rtol=1e-3)
    assert rows[CONTROL, "people", ""]["nss_n"] == "28"
    difference = scored["dcls", "rise"]["nss"] - scored["net", "rise"]["nss"]
    assert float(rows["dcls", "rise", "net"]["nss"]) == pytest.approx(difference.mean(), abs=1e-5)


def test_what_differs_is_marked():
    marks = {(row.cells["model"], row.cells["method"], row.cells.get("baseline")): row.marks for row in make()[2].rows}
    assert marks["net", "gradcam", None]["nss"] == "***"
    assert "nss" not in marks["net", "rise", None]
    assert marks["dcls", "gradcam", "net"]["nss"] == "***"
    assert not marks[CONTROL, "people", None]


def test_notes():
    text = "\n".join(make()[2].notes)
    assert "Dataset: eyes, 28 to 29 images with fixations that count." in text
    assert "Marks of methods, over the center bias of other images: paired differences" in text
    assert "Holm-corrected for 4 tests of each metric" in text
    assert "Marks of rows with a minus: paired differences" in text
    assert "Holm-corrected for 2 tests of each metric" in text
    assert "simulated" not in text
    text = "\n".join(make(simulated=True, intervals=False, compared=False)[2].notes)
    assert "Fixations are simulated, not recorded from people" in text
    assert "The CSV file has confidence intervals." in text
    assert "rows with a minus" not in text


def test_notes_say_whose_fixations_these_are():
    _, inputs, _ = make(compared=False)
    said = {}
    for source in ("mit1003", "salicon", "gaze_table"):
        inputs.dataset["source"] = source
        said[source] = "\n".join(TABLES["gaze"].function(inputs).notes)
    assert "found by camstudy in the eye tracker's samples (by dispersion), not by the authors' code" in said["mit1003"]
    assert "those of a mouse" in said["salicon"]
    assert "mouse" not in said["gaze_table"] + said["mit1003"]


def test_one_model_needs_no_column():
    _, inputs, _ = make(compared=False)
    inputs.study["models"].remove("dcls")
    table = TABLES["gaze"].function(inputs)
    assert table.caption == "Maps of Net and people's gaze on eyes."
    assert table.shown()[0].header == "Method"
    assert [row.cells["title"] for row in table.rows] == ["Humans", "Center bias", "Grad-CAM", "RISE"]
    titles = [row.cells["title"] for row in make()[2].rows]
    assert titles[4:6] == ["Net DCLS, Grad-CAM", "Net DCLS − Net, Grad-CAM"]
