"""Right and wrong predictions: means and paired differences by loops over images, the table, and what is refused."""

import csv
import dataclasses
import io
import itertools

import numpy as np
import pandas as pd
import pytest
from studies import FAITHFULNESS, make_inputs
from test_pipeline import study

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.by_prediction import BY_PREDICTION, summarize_by_prediction
from camstudy.analysis.statistics import CORRECTIONS, paired_comparison
from camstudy.core.errors import CamstudyError
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.inputs import Inputs
from camstudy.pipeline.sources import Sources
from camstudy.tables import TABLES
from camstudy.tables.counted import captioned, counted
from camstudy.tables.render import RENDERERS, to_csv

N, CEILING = 30, 0.5
SETTINGS = Settings(resamples=199, seed=2)
RIGHT = {"net": {n for n in range(N) if n % 3}, "other": {n for n in range(N) if n % 5}, "hopeless": set()}
METHODS = ("gradcam", "rise")


def scores():
    rng, found = np.random.default_rng(0), {}
    for key in itertools.product(RIGHT, METHODS):
        frame = pd.DataFrame({"image": range(N), "degenerate": np.arange(N) == 4, "spearman": rng.random(N)})
        found[key] = frame.assign(average_drop=rng.random(N)).sample(frac=1, random_state=1)
    return found


def predictions():
    top1 = {model: [n in right for n in range(N)] for model, right in RIGHT.items()}
    return {model: pd.DataFrame({"image": range(N), "top1": right}) for model, right in top1.items()}


@pytest.fixture(scope="module")
def long():
    pairs = [("net", "other"), ("net", "hopeless")]
    about = {"dataset": "d", "ceiling": CEILING, "settings": SETTINGS, "protocol": "p"}
    return summarize_by_prediction(scores(), pairs, predictions(), **about)


def row(table, **keys):
    (found,) = table[np.logical_and.reduce([table[key] == value for key, value in keys.items()])].to_dict("records")
    return found


def values(frame, images, metric):
    column, scale = ("spearman", CEILING) if metric == "alignment" else (metric, 1.0)
    by_image = dict(zip(frame["image"], frame[column], strict=True))
    return np.array([by_image[n] for n in sorted(images)]) / scale


@pytest.mark.parametrize(("metric", "method"), [*itertools.product(("alignment", "average_drop"), METHODS)])
def test_means_are_those_of_the_images(long, metric, method):
    assert tuple(long.columns) == BY_PREDICTION
    for model, right in RIGHT.items():
        for images, which in (("right", right), ("wrong", set(range(N)) - right)):
            found = row(long, images=images, model=model, method=method, metric=metric)
            assert (found["baseline"], found["n"]) == ("", len(which))
            if not which:
                assert np.isnan(found["mean"])
                continue
            expected = values(scores()[model, method], which, metric)
            assert found["mean"] == pytest.approx(expected.mean())
            assert found["ci_low"] < expected.mean() < found["ci_high"]
            assert found["n_degenerate"] == (4 in which)


@pytest.mark.parametrize("metric", ["alignment", "average_drop"])
def test_models_are_compared_where_both_are_right(long, metric):
    both, p = RIGHT["net"] & RIGHT["other"], []
    for method in METHODS:
        found = row(long, images="both_right", baseline="net", model="other", method=method, metric=metric)
        pair = (values(scores()[model, method], both, metric) for model in ("net", "other"))
        expected = paired_comparison(*pair, **SETTINGS.bootstrap)
        assert found["n"] == len(both) == 16
        numbers = [found[key] for key in ("mean", "ci_low", "ci_high", "p")]
        assert numbers == pytest.approx([expected.difference, expected.low, expected.high, expected.p])
        p.append(expected.p)
        # Both are never right.
        nothing = row(long, images="both_right", baseline="net", model="hopeless", method=method, metric=metric)
        assert (nothing["n"], nothing["p"]) == (0, 1)
        p.append(1.0)
    rows = long[(long["images"] == "both_right") & (long["metric"] == metric)]
    assert rows["n_tests"].tolist() == [4] * 4
    corrected = CORRECTIONS["holm"](np.array(p))
    assert sorted(rows["p_corrected"]) == pytest.approx(sorted(corrected))


def made(long, models=("net", "other"), compare=True):
    inputs = make_inputs()
    methods = {method: {"title": method.upper(), "target": "label"} for method in METHODS}
    protocols = {
        "p": {"family": "agreement", "title": "p", "metrics": ["spearman"]},
        "q": {"family": "faithfulness", "title": "q", **FAITHFULNESS},
    }
    about = {
        "models": list(models),
        "methods": list(METHODS),
        "comparisons": [{"title": "Net", "baseline": "net", "variant": "other"}] if compare else [],
        "catalog": {"methods": methods, "protocols": protocols},
    }
    top1 = [["digits_clickme", m, "", "top1", len(RIGHT[m]) / N, 0.1, 0.9, N, 0] for m in models]
    inputs = dataclasses.replace(
        inputs,
        study=inputs.study | about,
        models={model: {"title": model.title()} for model in models},
        scores=pd.DataFrame(top1, columns=inputs.scores.columns),
        by_prediction=long[long["model"].isin(models) & (compare | (long["images"] != "both_right"))],
    )
    return inputs, TABLES["by_prediction"].function(inputs)


def test_the_table_has_both_kinds_of_images_and_differences(long):
    inputs, table = made(long)
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [line["title"] for line in rows] == [
        *("Net, GRADCAM", "Net, RISE", "Other, GRADCAM", "Other, RISE"),
        *("Other − Net, GRADCAM, both right", "Other − Net, RISE, both right"),
    ]
    for line in rows:
        kinds = {"both_right": "right"} if line["baseline"] else {"right": "right", "wrong": "wrong"}
        for images, column in kinds.items():
            for metric, scale in (("alignment", 1), ("average_drop", 100)):
                keys = {key: line[key] for key in ("model", "method", "baseline")}
                found = row(long, images=images, metric=metric, **keys)
                ends = {"": "mean", "_ci_low": "ci_low", "_ci_high": "ci_high"}
                numbers = [float(line[f"{metric}_{column}{end}"]) for end in ends]
                assert numbers == pytest.approx([scale * found[key] for key in ends.values()], abs=1e-5)
                assert line[f"n_{column}"] == str(found["n"])
                if line["baseline"]:
                    assert float(line[f"{metric}_p_corrected"]) == pytest.approx(found["p_corrected"], abs=1e-6)
    caption = captioned(table.caption, counted(inputs, TABLES["by_prediction"]))
    assert caption.endswith("n = 30 images, of which models classify 20 to 24 correctly (top-1 66.7 to 80.0 %).")
    notes = "\n".join(table.notes)
    assert "Holm-corrected for 4 tests of each metric" in notes
    assert "Faithfulness: protocol q." in notes


def test_nothing_is_right_or_compared(long):
    _, table = made(long, models=("hopeless",), compare=False)
    text = RENDERERS["md"](table)
    assert "Rows with a minus" not in text
    assert [line["n_right"] for line in csv.DictReader(io.StringIO(to_csv(table)))] == ["0", "0"]


ASKED = {"tables": ["by_prediction"], "figures": [], "protocols": ["human_maps", "rise_fast"]}


def test_the_study_makes_it_from_scores_and_predictions():
    asked, plain = study(**ASKED), study(**ASKED | {"tables": ["scores"]})
    made_from = {family for family, *_ in Inputs(asked).split_scores()}
    assert made_from == {"agreement", "faithfulness"}
    assert not any(method in asked.controls for _, _, method, _ in Inputs(asked).split_scores())
    assert asked.shows("by_prediction")
    assert not plain.shows("by_prediction")
    studies = [study(**ASKED, images=images) for images in ("all", "correct")]
    identities = [Identities(each, Sources(each), lambda unit: f"{unit}:1") for each in studies]
    # All images are in it, whichever count elsewhere.
    assert len({identity.aggregate("by_prediction") for identity in identities}) == 1
    assert len({identity.aggregate("scores") for identity in identities}) == 2


GAZE = {"protocols": ["gaze"], "controls": [], "catalog": {"datasets": {"gaze": {"source": "mit1003", "root": "gaze"}}}}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"protocols": ["boxes"], "dataset": "digits_boxes"}, r"`tables\[0\]`: .*add to `protocols` one of either"),
        ({"dataset": "gaze", **GAZE}, r"`tables\[0\]`: .*dataset `gaze` has no labels"),
    ],
)
def test_what_it_needs_is_told(changed, message):
    with pytest.raises(CamstudyError, match=message):
        study(**ASKED | changed)
