"""The sentences of a study's answer: each says what its numbers say, or that they say nothing."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from camstudy import cli
from camstudy.analysis.aggregate import COMPARISONS
from camstudy.analysis.primary import findings
from camstudy.analysis.seeds import SEEDS
from camstudy.report.contents import Answer
from camstudy.tables.answers import answers, tally, verdict

CONFIG = {
    "primary": "alignment",
    "comparisons": [{"baseline": "net", "variant": "net_dcls", "title": "Net"}],
    "statistics": {"confidence": 0.95, "alpha": 0.05},
    "catalog": {
        "models": {"net": {"title": "Net"}, "net_dcls": {"title": "Net DCLS"}},
        "methods": {"gradcam": {"title": "Grad-CAM"}},
    },
}


def told(difference=0.031, low=0.02, high=0.042, p=0.0002, n=384, n_degenerate=0, metric="alignment", **config):
    """Return the sentence of one comparison, of three tests."""
    about = {"dataset": "scenes", "baseline": "net", "variant": "net_dcls", "method": "gradcam", "protocol": "people"}
    numbers = {"difference": difference, "ci_low": low, "ci_high": high, "p": p / 3, "p_corrected": p, "n": n}
    row = about | {"metric": metric} | numbers | {"n_degenerate": n_degenerate, "n_tests": 3}
    (sentence,) = answers(CONFIG | {"primary": metric} | config, pd.DataFrame([row])[list(COMPARISONS)])
    return sentence


def test_a_clear_difference_has_a_direction_and_a_size():
    assert told() == (
        "Net DCLS and Net, Grad-CAM: alignment of Net DCLS is significantly higher, by 0.031 (95% interval "
        "[0.020, 0.042], p < 0.001, 384 images)."
    )
    assert "significantly lower, by 0.031 (95% interval [-0.042, -0.020], p = 0.049, " in told(
        -0.031, -0.042, -0.02, p=0.049
    )


def test_no_difference_is_bounded_by_the_interval():
    sentence = told(0.0003, -0.00301, 0.003, p=0.7)
    assert "no significant difference in alignment; no difference larger than 0.004 fits the interval" in sentence
    assert "disagree" not in sentence


@pytest.mark.parametrize(("low", "p"), [(-0.003, 1e-5), (0.0001, 0.2)])
def test_what_only_one_of_test_and_interval_finds_is_no_difference(low, p):
    sentence = told(0.0003, low, 0.003, p=p)
    assert "no significant difference" in sentence
    assert "test and interval disagree" in sentence


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        # Two-sided, five differences of one sign have p = 2 / 2**5 = 0.0625, six 0.03125.
        ({"n": 5}, "with 5 images no test can be below 0.05"),
        ({"n": 8, "n_degenerate": 8, "difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0}, "all 8 pairs of maps have"),
        ({"n": 0, "n_degenerate": 8, "difference": float("nan"), "p": 1.0}, "no image counts for both"),
    ],
)
def test_what_cannot_be_told_is_said(numbers, reason):
    sentence = told(**numbers)
    assert reason in sentence
    assert "significant" not in sentence
    assert "significantly" in told(n=6)


def test_metrics_have_their_names_of_tables():
    assert "NSS of Net DCLS is significantly higher" in told(metric="nss")
    assert "no significant difference in Spearman;" in told(metric="spearman", p=0.5)


def test_percentages_are_told_in_points():
    assert "average drop of Net DCLS is significantly higher, by 3.1 points (95% interval [2.0, 4.2]" in told(
        metric="average_drop"
    )


def test_without_anything_compared_there_is_no_answer():
    empty = pd.DataFrame([], columns=list(COMPARISONS))
    assert "compares no models" in answers(CONFIG | {"comparisons": []}, empty)[0]
    assert "names no `primary`" in answers({**CONFIG, "primary": None}, empty)[0]
    assert "whole data set" in answers(CONFIG | {"primary": "box_accuracy"}, empty)[0]


def alone(rows, metric="alignment"):
    """Return the sentence of a model that is compared with no other, given mean, ends, n and degenerate by method."""
    columns = ["method", "mean", "ci_low", "ci_high", "n", "n_degenerate"]
    scores = pd.DataFrame(rows, columns=columns).assign(model="net", metric=metric)
    other = scores.assign(model="control", mean=9.0)
    methods = {"gradcam": {"title": "Grad-CAM"}, "layer_cam": {"title": None}}
    catalog = {"models": CONFIG["catalog"]["models"], "methods": methods}
    config = CONFIG | {"primary": metric, "comparisons": [], "models": ["net"], "catalog": catalog}
    (sentence,) = answers(config, pd.DataFrame([], columns=list(COMPARISONS)), pd.concat([scores, other]))
    return sentence


def test_one_model_alone_has_its_score_and_no_verdict():
    assert alone([("gradcam", 0.5231, 0.49, 0.55, 1200, 3)]) == (
        "Net, Grad-CAM: alignment is 0.523 (95% interval [0.490, 0.550], 1,200 images); no models are compared, and "
        "nothing is tested."
    )
    rows = [("gradcam", 0.2, 0.1, 0.3, 40, 0), ("layer_cam", 0.25, 0.2, 0.3, 40, 0)]
    assert alone(rows, "average_drop") == (
        "Net: of 2 methods, average drop is highest with layer_cam, 25.0 % (95% interval [20.0, 30.0], 40 images), and "
        "lowest with Grad-CAM, 20.0 % (95% interval [10.0, 30.0], 40 images); no models are compared, and nothing is "
        "tested."
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("gradcam", 0.0, 0.0, 0.0, 8, 8), "as all 8 maps are degenerate"),
        (("gradcam", float("nan"), float("nan"), float("nan"), 0, 8), "as no image counts"),
    ],
)
def test_one_model_of_which_nothing_can_be_told(row, reason):
    assert alone([row]) == f"Net: nothing can be told, {reason}."


def test_a_sentence_is_one_line_whatever_the_title():
    models = {"net": {"title": "one\ntwo"}, "net_dcls": {"title": None}}
    sentence = told(catalog=CONFIG["catalog"] | {"models": models})
    assert sentence.startswith("net_dcls and one two, Grad-CAM: alignment of net_dcls is")


def test_many_comparisons_are_counted():
    kinds = [
        (0.1, 0.05, 0.2, 1e-4, 20),
        (-0.1, -0.2, -0.05, 1e-4, 20),
        (0.0, -0.1, 0.1, 0.9, 20),
        (0.1, 0.05, 0.2, 1, 3),
    ]
    names = {"dataset": "scenes", "baseline": "net", "variant": "net_dcls", "method": "gradcam", "protocol": "people"}
    rows = [
        names
        | {"metric": "alignment", "difference": d, "ci_low": low, "ci_high": high, "p": p, "p_corrected": p, "n": n}
        for d, low, high, p, n in kinds
    ]
    table = pd.DataFrame(rows).assign(n_degenerate=0, n_tests=4)
    assert tally(CONFIG, table) == (
        "Of 4 comparisons (two models, one method): alignment significantly higher in 1, alignment significantly lower "
        "in 1, no significant difference in 1, nothing to be told of 1."
    )
    assert [verdict(CONFIG, found) for found in findings(table, "alignment")] == [
        *("higher", "lower", "no difference", "untold")
    ]
    # Those with the center bias, which a correction of its own holds for, are counted apart.
    beside = pd.concat([table, table[:3].assign(baseline="control")])
    assert tally(CONFIG, beside) == (
        f"{tally(CONFIG, table)} Of 3 comparisons (a model and the center bias, one method): alignment significantly "
        "higher in 1, alignment significantly lower in 1, no significant difference in 1."
    )
    assert tally(CONFIG, table[:2]) == ""
    assert tally(CONFIG | {"primary": None}, table) == ""


@pytest.mark.parametrize("primary", ["alignment", None])
def test_the_report_prints_the_answer(tmp_path, monkeypatch, capsys, primary):
    """What Snakemake's report begins with is there while that is made."""
    monkeypatch.chdir(tmp_path)
    results, seen = Path("results/studies/mine"), []
    first = results / "report/summary.html"
    monkeypatch.setattr(cli, "_call", lambda command, check, quiet: seen.append((command, first.read_text())) or 0)
    study = SimpleNamespace(name="mine", config={"primary": primary})
    found = Answer("Who?", "", "Of 3.", ["Net differs."])
    monkeypatch.setattr("camstudy.pipeline.rooms.finished_study", lambda config, folder: study)
    monkeypatch.setattr("camstudy.report.contents.answer", lambda study: found)
    monkeypatch.setattr("camstudy.report.contents.contents", lambda study, folder: "contents")
    monkeypatch.setattr("camstudy.report.page.page", lambda contents: f"the page of {contents}")
    results.mkdir(parents=True)
    Path("mine.yaml").write_text("study: mine\n")
    (results / "config.yaml").write_text("study: mine\n")
    assert cli.main(["report", "mine.yaml"]) == 0
    ((command, shown),) = seen
    assert command[-2:] == ["--report", "results/studies/mine/report/workflow/index.html"]
    assert "Net differs." in shown
    assert not first.exists()
    assert (results / "report/index.html").read_text() == "the page of contents"
    said = capsys.readouterr().out
    assert "report   results/studies/mine/report/index.html" in said
    assert ("Net differs." in said) == bool(primary)


@pytest.mark.parametrize("arguments", [["mine.yaml"], ["plain.yaml", "--config", "n_images=8"]])
def test_the_report_of_a_trial_is_the_trial_s(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("study: mine\nn_images: 8\n")
    Path("plain.yaml").write_text("study: mine\n")
    for name in ("mine", "mine-n8"):
        Path(f"results/studies/{name}").mkdir(parents=True)
        Path(f"results/studies/{name}/config.yaml").touch()
    assert cli._finished(arguments[0], arguments[2:]) == ("mine-n8", Path("results/studies/mine-n8/config.yaml"))
    assert cli._finished("plain.yaml")[0] == "mine"


def over_seeds(mean=0.02, low=0.01, high=0.03, *, n_seeds=5, n=64, metric="alignment", rows=1):
    """Return the long table of a pair's differences over seeds, beside a model's own mean."""
    about = {
        "dataset": "scenes",
        "method": "gradcam",
        "protocol": "people",
        "metric": metric,
        "n_seeds": n_seeds,
        "n": n,
    }
    numbers = {"mean": mean, "ci_low": low, "ci_high": high, "image_low": low, "image_high": high, "seed_sd": 0.01}
    pair = about | numbers | {"baseline": "net", "model": "net_dcls"}
    own = about | numbers | {"baseline": "", "model": "net", "mean": 9.0}
    return pd.DataFrame([own, *[pair] * rows])[list(SEEDS)]


def told_over_seeds(*ends, metric="alignment", **numbers):
    empty, config = pd.DataFrame([], columns=list(COMPARISONS)), CONFIG | {"primary": metric, "seeds": [0, 1]}
    (sentence,) = answers(config, empty, None, over_seeds(*ends, metric=metric, **numbers))
    return sentence


def test_several_seeds_have_one_sentence():
    assert told_over_seeds() == (
        "Net DCLS and Net, Grad-CAM: alignment of Net DCLS is higher, by 0.020 (95% interval over seeds and images "
        "[0.010, 0.030], 5 seeds, 64 images; not tested)."
    )
    sentence = told_over_seeds(-0.02, -0.041, 0.001, n_seeds=2)
    assert "no difference in alignment that the interval tells from 0; no difference larger than 0.041 fits" in sentence
    assert "[-0.041, 0.001], too narrow of so few seeds, 2 seeds" in sentence
    assert "is lower, by 2.0 points" in told_over_seeds(-0.02, -0.03, -0.01, metric="average_drop")
    assert told_over_seeds(*[float("nan")] * 3, n=0).endswith("as no image counts for both.")


def test_one_seed_is_told_as_any_model():
    row = {"dataset": "scenes", "baseline": "net", "variant": "net_dcls", "method": "gradcam", "protocol": "people"}
    numbers = {"difference": 0.03, "ci_low": 0.02, "ci_high": 0.04, "p": 1e-4, "p_corrected": 1e-4, "n": 64}
    comparisons = pd.DataFrame([row | {"metric": "alignment"} | numbers | {"n_tests": 1, "n_degenerate": 0}])
    (sentence,) = answers(CONFIG, comparisons, None, over_seeds(n_seeds=1))
    assert "significantly higher, by 0.030" in sentence


def test_comparisons_over_seeds_are_counted():
    empty = pd.DataFrame([], columns=list(COMPARISONS))
    assert tally(CONFIG, empty, over_seeds(rows=2)) == ""
    both = pd.concat([over_seeds(rows=2), over_seeds(0.0, -0.1, 0.1), over_seeds(n=0)])
    assert tally(CONFIG, empty, both) == (
        "Of 4 comparisons (two models over seeds, one method): alignment higher in 2, no difference in 1, nothing to "
        "be told of 1."
    )
