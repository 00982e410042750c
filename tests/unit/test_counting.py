"""Which images count: means and comparisons by loops over images, captions, identities, mistakes."""

import copy
import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT
from matplotlib.figure import Figure
from studies import make_inputs, with_sweeps
from test_pipeline import study

from camstudy.analysis.aggregate import Settings, compare, mean_curves, summarize, summarize_sweep
from camstudy.analysis.counting import Counting, is_correct, read_counting
from camstudy.analysis.primary import findings
from camstudy.analysis.steps import summarize_steps
from camstudy.core.errors import CamstudyError
from camstudy.core.identity import parts
from camstudy.core.parts import write_scores
from camstudy.core.provenance import write_record
from camstudy.figures import FIGURES
from camstudy.figures.style import COLUMN, remark
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.inputs import Inputs
from camstudy.pipeline.sources import Sources
from camstudy.study.stated import resolved, stated_by
from camstudy.tables import TABLES
from camstudy.tables.counted import captioned, counted

N = 40
SETTINGS = Settings(resamples=200, seed=1)
# Right about even images, about multiples of three, about none.
RIGHT = {"net": [n % 2 == 0 for n in range(N)], "other": [n % 3 == 0 for n in range(N)]}
KEYS = [("net", "gradcam"), ("other", "gradcam"), ("net", "random"), ("control", "random")]


def predictions(**right):
    return {
        model: pd.DataFrame({"image": np.arange(N), "label": 1, "predicted": np.where(top1, 1, 0), "top1": top1})
        for model, top1 in (right or RIGHT).items()
    }


def frames(**columns):
    rng = np.random.default_rng(0)
    found = {}
    for key in KEYS:
        frame = pd.DataFrame({"image": np.arange(N), "degenerate": False, "average_drop": rng.random(N)})
        found[key] = frame.assign(**{name: make(rng) for name, make in columns.items()}).sample(frac=1, random_state=0)
    return found


def counts(policy, *models):
    """Which images count for these models, from the definition."""
    asked = RIGHT if policy == "correct_by_all" else [model for model in models if model in RIGHT]
    return [n for n in range(N) if policy == "all" or all(RIGHT[model][n] for model in asked)]


@pytest.mark.parametrize("policy", ["all", "correct", "correct_by_all"])
def test_means_are_of_the_images_that_count(policy):
    scores = frames()
    counting = Counting.of(policy, predictions())
    table = summarize(counting.frames(scores), dataset="d", ceiling=None, settings=SETTINGS)
    expected = {"all": [40, 40, 40, 40], "correct": [20, 14, 20, 40], "correct_by_all": [7, 7, 7, 7]}[policy]
    assert table["n"].tolist() == expected
    for (model, method), mean in zip(KEYS, table["mean"], strict=True):
        by_image = scores[model, method].set_index("image")["average_drop"]
        assert mean == pytest.approx(np.mean([by_image[n] for n in counts(policy, model)]), abs=1e-12)


@pytest.mark.parametrize("policy", ["all", "correct", "correct_by_all"])
def test_models_are_compared_on_images_that_count_for_both(policy):
    scores = {key: frame for key, frame in frames().items() if key[1] == "gradcam"}
    counting = Counting.of(policy, predictions())
    where = {"dataset": "d", "ceiling": None, "settings": SETTINGS}
    (row,) = compare(scores, [("net", "other")], **where, counting=counting).itertuples()
    first, second = (scores[model, "gradcam"].set_index("image")["average_drop"] for model in ("net", "other"))
    images = counts(policy, "net", "other")
    assert row.n == len(images) == (40 if policy == "all" else 7)
    assert row.difference == pytest.approx(np.mean([second[n] - first[n] for n in images]), abs=1e-12)
    (found,) = findings(pd.DataFrame([row]), "average_drop")
    assert (found.baseline, found.variant, found.n, found.n_tests) == ("net", "other", len(images), 1)
    assert (found.difference, found.p_corrected) == (row.difference, row.p_corrected)


def test_curves_steps_and_sweeps_are_of_the_images_that_count():
    counting = Counting.of("correct", predictions())
    curves = frames(insertion=lambda rng: [*rng.random((N, 3))], deletion=lambda rng: [*rng.random((N, 3))])
    table = mean_curves(counting.frames(curves))
    found = table[(table["model"] == "other") & (table["curve"] == "insertion")]
    own = curves["other", "gradcam"]
    expected = np.mean([list(row.insertion) for row in own.itertuples() if row.image % 3 == 0], axis=0)
    np.testing.assert_allclose(found["mean"], expected, atol=1e-12)
    assert set(found["n"]) == {14}

    steps = frames(correlation=lambda rng: rng.random(N)) | {}
    steps = {key: frame.assign(step=1, step_name="fc", correlation_absolute=0.5) for key, frame in steps.items()}
    steps = {key: frame.drop(columns="average_drop") for key, frame in steps.items()}
    table = summarize_steps(counting.frames(steps), dataset="d", settings=SETTINGS)
    assert table[table["model"] == "net"]["n"].tolist() == [20, 20, 20, 20]
    even = steps["net", "gradcam"].query("image % 2 == 0")["correlation"]
    assert table.iloc[1]["mean"] == pytest.approx(even.mean(), abs=1e-12)

    rng = np.random.default_rng(1)
    sweep = pd.DataFrame(
        [(n, floor, False, rng.random()) for n in range(N) for floor in (np.nan, 0.3)],
        columns=["image", "floor", "degenerate", "spearman"],
    )
    swept = counting.frames({("net", "gradcam"): sweep})
    table = summarize_sweep(swept, dataset="d", ceiling=0.5, settings=SETTINGS)
    at = table[(table["floor"] == 0.3) & (table["metric"] == "alignment")].iloc[0]
    expected = sweep.query("floor == 0.3 and image % 2 == 0")["spearman"].mean() / 0.5
    assert (at["n"], at["mean"]) == (20, pytest.approx(expected, abs=1e-12))
    assert table[table["metric"] == "held_out_alignment"].iloc[0]["n"] == 20


def test_predictions_are_read_in_the_order_of_models_and_only_where_they_decide(tmp_path):
    records = []
    for model, frame in predictions().items():
        images = SimpleNamespace(n=N, names=lambda part: [f"{n}.png" for n in range(N)][part])
        write_scores(tmp_path / f"{model}.parquet", frame, images, slice(0, N))
        records.append(str(tmp_path / f"{model}.json"))
        write_record(records[-1], "one", tmp_path / f"{model}.parquet")
    found = read_counting({"models": list(RIGHT), "images": "correct"}, records)
    assert found.images["other"].tolist() == list(range(0, N, 3))
    assert read_counting({"models": list(RIGHT), "images": "all"}, []).images == {}


def test_no_image_left_is_a_mistake_that_says_whose():
    none = RIGHT | {"bad": [False] * N}
    with pytest.raises(CamstudyError, match="`bad` classifies none of the 40 images correctly"):
        Counting.of("correct", predictions(**none))
    odd = {"net": RIGHT["net"], "odd": [not right for right in RIGHT["net"]]}
    with pytest.raises(CamstudyError, match="no image is classified correctly by all of net, odd"):
        Counting.of("correct_by_all", predictions(**odd))
    with pytest.raises(CamstudyError, match="predictions have no column `top1`"):
        is_correct(pd.DataFrame({"image": [0], "average_precision": [0.5]}))


# What is planned. ----------------------------------------------------------------------------------------------------

FAITHFUL = {"protocols": ["human_maps", "rise_fast"], "comparisons": []}


def identity(of):
    return Identities(of, Sources(of), revision=lambda unit: f"{unit}:1")


def test_the_key_makes_long_tables_and_what_shows_them_anew_and_no_map_or_score():
    plain, stated, correct = (study(**FAITHFUL, **more) for more in ({}, {"images": "all"}, {"images": "correct"}))
    name, (model, *_) = plain.dataset, plain.models
    for what in ("scores", "curves"):
        before, same, after = (identity(each).aggregate(what) for each in (plain, stated, correct))
        assert before == same != after
    for ask in (
        lambda found: found.explanation(name, model, "gradcam"),
        lambda found: found.scores(name, model, "gradcam", "rise_fast"),
        lambda found: found.prediction(name, model),
    ):
        assert len({ask(identity(each)) for each in (plain, correct)}) == 1
    assert resolved(plain.config) == resolved(stated.config)
    assert "images" not in resolved(plain.config)
    assert resolved(correct.config)["images"] == "correct"
    assert "images" not in stated_by(plain.config, TABLES["dcls"])
    assert stated_by(correct.config, TABLES["dcls"])["images"] == "correct"
    assert Inputs(plain).correct() == []
    assert Inputs(correct).correct() == [f"results/scores/{name}/{each}/prediction.json" for each in correct.models]


LATER = ("layer_scores", "seeds", "similarity")


def test_tables_that_counted_all_are_made_anew_only_where_it_matters():
    """Their code is of the same revision where all images count, and each has one item."""
    pair = {"comparisons": [{"baseline": "tiny_resnet", "variant": "tiny_resnet_dcls"}]}
    sweep = {"layer_sweep": {"methods": ["gradcam"], "stages": [1, 2]}, "tables": ["layer_faithfulness"]}
    every = {**FAITHFUL, **pair, **sweep}
    plain, correct = study(**every), study(**every, images="correct")
    sets = {name: {"label_sets": True} for name in ("tiny", "tiny_train")}
    items = study(**every, catalog={"datasets": sets, "models": {name: {"head": "sigmoid"} for name in plain.models}})
    for what in LATER:
        found = [parts(identity(each).aggregate(what)) for each in (plain, correct, items)]
        assert [each.get("counting") for each in found] == [None, "as_scores", "as_scores"]
        assert found[0]["stated"] != found[1]["stated"]
    for what in ("scores", "curves"):
        assert "counting" not in parts(identity(correct).aggregate(what))


@pytest.mark.parametrize("what", LATER)
def test_rules_give_every_long_table_what_says_which_images_count(what):
    rules = (ROOT / "workflow/rules/aggregate.smk").read_text()
    inputs = rules.partition(f"rule aggregate_{what}:")[2].partition("output:")[0]
    assert "INPUTS.correct()" in inputs
    assert "INPUTS.items(STUDY.dataset)" in inputs


def test_the_primary_metric_is_one_of_the_protocols_and_is_compared_if_it_is_a_correlation():
    plain, drop, dice = (study(**FAITHFUL, primary=name) for name in (None, "average_drop", "dice_at_10"))
    aggregates = [identity(each).aggregate("scores") for each in (plain, drop, dice)]
    assert aggregates[0] == aggregates[1] != aggregates[2]
    assert "primary" not in resolved(plain.config)
    assert resolved(drop.config)["primary"] == "average_drop"
    with pytest.raises(
        CamstudyError, match=r"`primary`: unknown primary metric `averge_drop`, did you mean `average_d"
    ):
        study(**FAITHFUL, primary="averge_drop")
    # Alignment follows from `spearman`, accuracy from no protocol.
    assert study(**FAITHFUL, primary="alignment").config["primary"] == "alignment"
    with pytest.raises(CamstudyError, match=r"`primary`: unknown primary metric `top1`.*human_maps, rise_fast"):
        study(**FAITHFUL, primary="top1")


def test_data_without_labels_know_no_correct_images():
    entry = {"source": "salicon", "root": "salicon", "human_ceiling": 1.0}
    gaze = {"dataset": "gaze", "catalog": {"datasets": {"gaze": entry}}}
    with pytest.raises(CamstudyError, match=r"`images`: found correct, but dataset `gaze` has no labels"):
        study(**gaze, images="correct")


# Captions. -----------------------------------------------------------------------------------------------------------


def with_policy(policy, counts):
    inputs = make_inputs()
    scores = inputs.scores.copy()
    rows = scores["metric"] != "top1"
    scores.loc[rows & (scores["model"] != "control"), "n"] = list(
        itertools.islice(itertools.cycle(counts), int((rows & (scores["model"] != "control")).sum()))
    )
    return replace(inputs, scores=scores, study=inputs.study | ({"images": policy} if policy else {}))


@pytest.mark.parametrize(
    ("policy", "counts", "expected"),
    [
        (None, [384], "n = 384 images"),
        ("correct", [301, 290], "n = 290 to 301 images that the model classifies correctly, of controls that look at "
         "no model n = 384"),
    ],
)  # fmt: skip
def test_captions_say_how_many_images_and_which(policy, counts, expected):
    inputs = with_policy(policy, counts)
    assert counted(inputs, TABLES["dcls"]) == expected
    assert captioned("Alignment on scenes.", "n = 3 images") == "Alignment on scenes, n = 3 images."


def test_captions_of_sweeps_say_their_own_images():
    inputs = with_sweeps(make_inputs())
    inputs = replace(inputs, layers=inputs.layers.assign(n=17), study=inputs.study | {"images": "correct_by_all"})
    assert counted(inputs, TABLES["layer_sweep"]) == "n = 17 images that all models classify correctly"
    assert counted(inputs, FIGURES["threshold_sweep"]).startswith("n = 384 images that all")


def test_captions_of_seeds_and_stages_say_their_own_images():
    inputs = make_inputs()
    seeds = pd.DataFrame(
        [("", "", "top1", 384), ("", "gradcam", "average_drop", 21), ("a", "gradcam", "average_drop", 9)],
        columns=["baseline", "method", "metric", "n"],
    ).assign(model="net")
    scored = pd.DataFrame({"model": ["net"], "metric": ["average_drop"], "n": [33]})
    inputs = replace(inputs, seeds=seeds, layer_scores=scored, study=inputs.study | {"images": "correct"})
    right = "that the model classifies correctly"
    found = counted(inputs, TABLES["interpretable_recognition"])
    assert found == f"n = 21 images {right} under one seed at least"
    assert counted(inputs, TABLES["layer_faithfulness"]) == f"n = 33 images {right}"


def test_figures_say_it_below_their_note():
    figure = Figure()
    remark(figure, "n = 3 images")
    assert figure.get_supxlabel() == "n = 3 images"
    other = Figure()
    other.supxlabel("protocol: rise")
    remark(other, "n = 3 images")
    assert other.get_supxlabel() == "protocol: rise\nn = 3 images"


def test_a_long_note_stays_on_its_figure():
    figure = Figure(figsize=(COLUMN, 2), layout="constrained")
    figure.subplots()
    remark(figure, "parts randomised from the top, each with those before it; 4 of constant maps counted as 0")
    remark(figure, "n = 3 images")
    figure.draw_without_rendering()
    (note,) = figure.texts
    assert note.get_text().splitlines()[-1] == "n = 3 images"
    place = note.get_window_extent()
    assert 0 < place.x0 < place.x1 <= figure.bbox.x1
    assert place.y0 >= 0


def test_inputs_are_not_changed():
    scores = frames()
    before = copy.deepcopy(scores)
    Counting.of("correct", predictions()).frames(scores)
    for key, frame in scores.items():
        pd.testing.assert_frame_equal(frame, before[key])
