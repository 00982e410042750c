"""The table of randomisation: its numbers are those of the steps, its rows say what was randomised."""

import csv
import dataclasses
import io

import pandas as pd
import pytest
from studies import make_inputs, with_steps

from camstudy.tables import TABLES
from camstudy.tables.counted import captioned, counted
from camstudy.tables.render import RENDERERS

NAMES = ["head.fc", "stages.3.blocks.2", "stages.3.downsample.norm"]


def make(n_models=1, n_methods=2, **options):
    inputs = with_steps(make_inputs(), n_models, n_methods, **options)
    means = pd.DataFrame(
        [
            {**inputs.scores.iloc[0], "model": model, "method": method, "metric": metric, "mean": 0.25, "n": 50}
            for model in inputs.study["models"]
            for method in inputs.study["methods"]
            for metric in ("randomization_spearman", "randomization_spearman_absolute")
        ]
    )
    inputs = dataclasses.replace(inputs, scores=means)
    return inputs, TABLES["sanity"].function(inputs)


def read(table):
    return list(csv.DictReader(io.StringIO(RENDERERS["csv"](table))))


@pytest.mark.parametrize("n_models", [1, 3])
def test_numbers_are_those_of_the_steps(n_models):
    inputs, table = make(n_models, 3)
    rows = read(table)
    assert [row["name"] for row in rows] == [*NAMES, ""] * n_models
    known = inputs.steps.set_index(["model", "step", "method"])
    for row in rows:
        for method in inputs.study["methods"]:
            if not row["name"]:
                assert row[method] == row[f"{method}_absolute"] == "0.25"
                continue
            found = known.loc[row["model"], int(row["step"]), method]
            for key, columns in (
                (method, ("mean", "ci_low", "ci_high")),
                (f"{method}_absolute", ("absolute", "absolute_low", "absolute_high")),
            ):
                read_off = [float(row[key + end]) for end in ("", "_ci_low", "_ci_high")]
                assert read_off == pytest.approx([found[column] for column in columns], abs=1e-6)
            assert row[f"{method}_n"] == "50"


def test_rows_are_named_by_step_and_part_and_by_the_model_where_there_are_several():
    titles = [row.cells["title"] for row in make()[1].rows]
    assert titles == [*(f"{step}: {name}" for step, name in enumerate(NAMES, 1)), "mean over steps"]
    assert [row.cells["title"] for row in make(2)[1].rows][4] == "ResNet-mini DCLS, 1: head.fc"


def test_magnitudes_are_shown_of_maps_with_signs_alone():
    _, table = make(n_methods=3)
    headers = [(column.group, column.header) for column in table.shown()[1:]]
    assert headers == [("Method0", "Signed"), ("Method0", "Magnitudes"), ("", "Method1"), ("", "Method2")]
    assert any("Magnitudes" in note for note in table.notes)


def test_caption_and_notes_say_what_it_rests_on():
    inputs, table = make(n_degenerate=2)
    caption = captioned(table.caption, counted(inputs, TABLES["sanity"]))
    assert caption == (
        "What is left of maps of ResNet-mini as weights are randomised from the top, on digits_clickme, n = 50 images."
    )
    notes = "\n".join(table.notes)
    for words in (
        "Protocol: cascade, seed 0.",
        "1 where the order of all places is the same",
        "from its uppermost module to its lowest",
        "Explained class: the image's label.",
        "Degenerate maps (constant or non-finite), scored as 0, of all steps together: ",
        "ResNet-mini, Method0: 2",
        "ResNet-mini, Method1: 2",
        "95% BCa bootstrap confidence intervals over images",
    ):
        assert words in notes
