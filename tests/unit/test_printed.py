"""What tables print of numbers, intervals and asterisks: it never says anything else than the numbers do."""

import csv
import dataclasses
import io
import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from studies import make_inputs, make_method_inputs

from camstudy.analysis.aggregate import Settings, compare
from camstudy.analysis.counting import explained
from camstudy.analysis.summary import Difference, Estimate
from camstudy.figures import FIGURES
from camstudy.tables import TABLES
from camstudy.tables.counted import counted
from camstudy.tables.render import to_csv
from camstudy.tables.table import Column, Row, Table, cell

# Differences of scores as large as they get, and as small as they get: what is smaller than 1e-9 is rounding.
NUMBERS = st.one_of(st.floats(-1.5, 1.5), st.floats(-1e-3, 1e-3), st.floats(-1e-6, 1e-6), st.just(0.0))
LEVELS = (0.05, 0.01, 0.001)
INPUTS = make_inputs()


def sign(number):
    return 0 if abs(number) <= 1e-9 else 1 if number > 0 else -1


def printed(shown):
    """Return the numbers of a cell as a reader would take them."""
    return [float(text) for text in re.findall(r"[-+]?\d[\d.]*(?:e-\d+)?", f"{shown.value} {shown.interval}")]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.tuples(NUMBERS, NUMBERS, NUMBERS).map(sorted),
    st.floats(0, 1),
    st.sampled_from(["difference", "percent", "score"]),
    st.booleans(),
)
def test_what_is_printed_contradicts_neither_interval_nor_stars(numbers, p, form, among_others):
    low, value, high = numbers
    found = Difference(Estimate(value, low, high), p, p)
    mark = INPUTS.significance(found)
    # A row of differences in a column of means shows them all the same.
    column = Column("x", format=form, interval=not among_others)
    row = Row({"x": found.estimate}, {"x": mark}, differences=frozenset({"x"}) if among_others else frozenset())
    assert (cell(column, row).value[0] == "+") == (value > 1e-9 and (among_others or form == "difference"))
    shown = printed(cell(column, row))
    # 1.4e-9 is 1e-9 there, which is not mere rounding any more.
    assert [np.sign(number) for number in shown] == [sign(value), sign(low), sign(high)]
    assert shown[1] <= shown[0] <= shown[2]
    # A star says that 0 is outside, and that p is below the level.
    outside = sign(low) == sign(high) != 0
    assert len(mark) == (sum(p < level for level in LEVELS) if outside else 0)
    told = cell(Column("p", format="p", levels=LEVELS), Row({"p": p})).value
    below = [level for level in LEVELS if told == f"<{level:g}" or (told[0] != "<" and float(told) < level)]
    assert len([level for level in LEVELS if p < level]) == (3 if told[0] == "<" else len(below))
    text = to_csv(Table("t", "T.", (column,), (row,), ()))
    exact = [float(number) for number in [*csv.reader(io.StringIO(text))][1]]
    assert [np.sign(number) for number in exact] == [sign(value), sign(low), sign(high)]


@pytest.mark.parametrize(
    ("form", "numbers", "expected"),
    [
        ("difference", (-0.000487, -0.0021, 0.0011), "-0.0005 [-0.0021, 0.0011]"),
        ("difference", (0.05, -0.000158, 0.1), "+0.0500 [-0.0002, 0.1000]"),
        ("difference", (0.0, -0.01, 0.01), "0.000 [-0.010, 0.010]"),
        ("difference", (0.05, 0.00000004, 0.1), "+0.050 [4e-8, 0.100]"),
        ("estimate", (0.4213, 0.4, 0.44), "0.421 [0.400, 0.440]"),
        ("percent", (-0.0004, None, None), "0.0"),
    ],
)
def test_small_numbers_get_the_digits_that_they_need(form, numbers, expected):
    shown = cell(Column("x", format=form), Row({"x": Estimate(*numbers)}))
    assert f"{shown.value} {shown.interval}".strip() == expected


def test_a_rounded_p_stays_on_its_side_of_the_level():
    def told(value, levels=LEVELS):
        return cell(Column("p", format="p", levels=levels), Row({"p": value})).value

    assert [told(p) for p in (0.04996, 0.05, 0.0099996, 0.3)] == ["0.04996", "0.050", "0.0099996", "0.300"]
    assert (told(0.0004), told(0.0004, (0.0003,))) == ("<0.001", "0.0004")


def test_stars_are_for_what_test_and_interval_both_call_different():
    found = Difference(Estimate(0.0003, -0.003, 0.003), 1e-5, 1e-5)
    assert INPUTS.significance(found) == ""
    statistics = INPUTS.study["statistics"] | {"stars": "test"}
    alone = dataclasses.replace(INPUTS, study=INPUTS.study | {"statistics": statistics})
    assert alone.significance(found) == "***"
    for inputs, words in ((INPUTS, "and the interval excludes 0"), (alone, "whatever the interval says")):
        assert words in "\n".join(TABLES["dcls"].function(inputs).notes)


@pytest.mark.parametrize(
    ("top1", "words"),
    [
        ({"net": 0.5625}, ", of which models classify 9 correctly (top-1 56.2 %)"),
        ({"net": 0.5625, "other": 0.75}, ", of which models classify 9 to 12 correctly (top-1 56.2 to 75.0 %)"),
    ],
)
def test_captions_of_faithfulness_say_how_many_images_are_recognized(top1, words):
    inputs = make_method_inputs(models=tuple(top1))
    rows = [["boxes", model, "", "top1", share, 0.3, 0.8, 16, 0] for model, share in top1.items()]
    right = pd.DataFrame(rows, columns=["dataset", "model", "method", "metric", "mean", "ci_low", "ci_high", "n", "d"])
    scores = pd.concat([inputs.scores[inputs.scores["metric"] != "top1"], right.rename(columns={"d": "n_degenerate"})])
    inputs = dataclasses.replace(inputs, scores=scores)
    assert counted(inputs, TABLES["faithfulness"]).endswith(words)
    assert counted(inputs, FIGURES["insertion_deletion"]).endswith(words)
    # Not those of localisation, of the images that count because they are right, or of other data.
    assert "correctly" not in counted(inputs, TABLES["localization"])
    alone = dataclasses.replace(inputs, study=inputs.study | {"images": "correct"})
    assert words not in counted(alone, TABLES["faithfulness"])
    elsewhere = dataclasses.replace(inputs, dataset=inputs.dataset | {"dataset": "others"})
    assert "correctly" not in counted(elsewhere, TABLES["faithfulness"])


def test_controls_are_no_tests_between_models():
    frames = {
        (model, method): pd.DataFrame({"image": range(8), "name": "", "average_drop": np.linspace(0, step, 8)})
        for step, (model, method) in enumerate(itertools.product(("net", "other"), ("gradcam", "center_bias")), 1)
    }
    about = {"dataset": "boxes", "ceiling": None, "settings": Settings(resamples=200)}
    found = compare(explained(frames, ["center_bias"]), [("net", "other")], **about)
    assert [*found["method"]] == ["gradcam"]
    assert [*found["n_tests"]] == [1]
    assert found["p_corrected"].tolist() == found["p"].tolist()
