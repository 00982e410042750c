"""The sentences of a study's answer: each says what its numbers say, or that they say nothing."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml

from camstudy import cli
from camstudy.analysis.aggregate import COMPARISONS
from camstudy.core.parts import write_table
from camstudy.tables.answers import answers

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


def test_percentages_are_told_in_points():
    assert "average_drop of Net DCLS is significantly higher, by 3.1 points (95% interval [2.0, 4.2]" in told(
        metric="average_drop"
    )


def test_without_anything_compared_there_is_no_answer():
    empty = pd.DataFrame([], columns=list(COMPARISONS))
    assert "compares no models" in answers(CONFIG | {"comparisons": []}, empty)[0]
    assert "names no `primary`" in answers({**CONFIG, "primary": None}, empty)[0]
    assert "whole data set" in answers(CONFIG | {"primary": "box_accuracy"}, empty)[0]


@pytest.mark.parametrize(
    ("primary", "words"), [("alignment", "alignment of Net DCLS is significantly higher"), (None, "")]
)
def test_the_report_prints_the_answer(tmp_path, monkeypatch, capsys, primary, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("subprocess.run", lambda *command, **options: SimpleNamespace(returncode=0))
    results = Path("results/studies/mine")
    results.mkdir(parents=True)
    Path("mine.yaml").write_text("study: mine\n")
    (results / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"primary": primary}))
    names = {"dataset": "scenes", "baseline": "net", "variant": "net_dcls", "method": "gradcam", "protocol": "people"}
    numbers = {"difference": 0.1, "ci_low": 0.05, "ci_high": 0.2, "p": 1e-4, "p_corrected": 1e-4}
    row = names | numbers | {"metric": "alignment", "n": 20, "n_degenerate": 0, "n_tests": 1}
    write_table(results / "comparisons.parquet", pd.DataFrame([row]), "made up")
    assert cli.main(["report", "mine.yaml"]) == 0
    said = capsys.readouterr().out
    assert words in said
    assert ("Net DCLS" in said) == bool(primary)
