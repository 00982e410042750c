"""Best floors on images that they were not chosen on: in the long table against loops, and as the table shows them."""

import csv
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from studies import FLOORS, make_inputs, with_sweeps

from camstudy.analysis.aggregate import HELD_OUT, SCORES, Settings, held_out, summarize_sweep
from camstudy.tables import TABLES
from camstudy.tables.render import to_csv, to_markdown

CEILING, CHOICES = 0.6, [None, 0.0, 0.3, 0.6]
KEY = ("net", "gradcam")


def frame(n, seed=0, order=None):
    """Scores of n images at each floor, of which the best differs between the halves; some maps are degenerate."""
    rng = np.random.default_rng(seed)
    rho = rng.uniform(-0.2, 0.6, (n, len(CHOICES)))
    rho[::2, 1] += 0.2
    rho[1::2, 3] += 0.2
    degenerate = np.zeros((n, len(CHOICES)), bool)
    degenerate[3 % n, :], degenerate[4 % n, 3] = True, True
    rho[degenerate] = 0
    images = order if order is not None else range(n)
    rows = [
        (image, np.nan if floor is None else floor, rho[image, column], degenerate[image, column])
        for image in images
        for column, floor in enumerate(CHOICES)
    ]
    return pd.DataFrame(rows, columns=["image", "floor", "spearman", "degenerate"]), rho, degenerate


def by_loops(rho, degenerate, policy):
    """(floor, values) of even and odd images: the floor is the best of the other half, image by image."""
    found = {}
    for parity in (0, 1):
        best, place = -np.inf, None
        for column in range(len(CHOICES)):
            kept = [
                rho[i, column]
                for i in range(len(rho))
                if i % 2 != parity and not (policy == "skip" and degenerate[i, column])
            ]
            if kept and np.mean(kept) > best:
                best, place = np.mean(kept), column
        mine = [i for i in range(len(rho)) if i % 2 == parity]
        values = [rho[i, place] for i in mine if not (policy == "skip" and degenerate[i, place])]
        found[parity] = CHOICES[place], values, int(sum(degenerate[i, place] for i in mine))
    return found


@pytest.mark.parametrize("policy", ["score", "skip"])
@pytest.mark.parametrize("n", [23, 24, 2])
def test_halves_are_scored_at_the_floor_that_is_best_on_the_other(policy, n):
    scores, rho, degenerate = frame(n)
    settings = Settings(resamples=200, seed=1, degenerate=policy)
    found = held_out(KEY, scores, dataset="d", ceiling=CEILING, settings=settings, protocol="floors")
    if policy == "skip" and n == 2:
        assert list(found.columns) == [*SCORES, "floor"]
        assert found.empty  # of the second half's only image, no map counts
        return
    assert found["metric"].tolist() == list(HELD_OUT)
    expected = by_loops(rho, degenerate, policy)
    for parity, row in enumerate(found.iloc[1:].itertuples()):
        floor, values, flat = expected[parity]
        assert (row.floor == floor) if floor is not None else np.isnan(row.floor)
        assert row.mean == pytest.approx(np.mean(values) / CEILING)
        assert (row.n, row.n_degenerate) == (len(values), flat)
    every = found.iloc[0]
    values = [value for parity in (0, 1) for value in expected[parity][1]]
    assert every["mean"] == pytest.approx(np.mean(values) / CEILING)
    assert (every["n"], np.isnan(every["floor"])) == (len(values), True)
    assert every[["dataset", "model", "method", "protocol"]].tolist() == ["d", *KEY, "floors"]
    if n == 24:
        assert [expected[parity][0] for parity in (0, 1)] == [0.6, 0.0]  # what is best differs
        best = max(rho[:, column].mean() for column in range(len(CHOICES))) / CEILING
        assert every["mean"] < best


def test_intervals_are_those_of_the_held_out_scores():
    scores, rho, degenerate = frame(30)
    found = held_out(KEY, scores, dataset="d", ceiling=CEILING, settings=Settings(resamples=500, seed=3))
    _, values, _ = by_loops(rho, degenerate, "score")[0]
    rng = np.random.default_rng(3)
    expected = scipy.stats.bootstrap((np.array(values),), np.mean, n_resamples=500, method="BCa", rng=rng)
    np.testing.assert_allclose(
        found.loc[1, ["ci_low", "ci_high"]].astype(float), np.array(expected.confidence_interval) / CEILING
    )


def test_neither_the_order_of_images_nor_the_seed_changes_what_is_chosen():
    plain, *_ = frame(24)
    mixed, *_ = frame(24, order=np.random.default_rng(5).permutation(24))
    tables = [
        held_out(KEY, one, dataset="d", ceiling=CEILING, settings=Settings(resamples=200, seed=seed))
        for one, seed in ((plain, 0), (mixed, 0), (plain, 9))
    ]
    pd.testing.assert_frame_equal(tables[0], tables[1])
    pd.testing.assert_frame_equal(tables[0][["mean", "floor", "n"]], tables[2][["mean", "floor", "n"]])


def test_of_equal_floors_the_first_of_the_protocol_counts():
    rows = [(image, floor, 0.4, False) for image in range(6) for floor in (0.9, np.nan, 0.1)]
    scores = pd.DataFrame(rows, columns=["image", "floor", "spearman", "degenerate"])
    found = held_out(KEY, scores, dataset="d", ceiling=1, settings=Settings(resamples=200))
    assert found["floor"].tolist()[1:] == [0.9, 0.9]


def test_the_long_table_has_them_beside_every_floor():
    scores, *_ = frame(24)
    options = {"dataset": "d", "ceiling": CEILING, "settings": Settings(resamples=200), "protocol": "floors"}
    table = summarize_sweep({KEY: scores}, **options)
    assert table["metric"].tolist() == ["alignment"] * len(CHOICES) + list(HELD_OUT)
    alone = held_out(KEY, scores, **options)
    pd.testing.assert_frame_equal(table.iloc[len(CHOICES) :].reset_index(drop=True), alone, check_dtype=False)


@pytest.fixture
def inputs():
    """Made-up sweeps, with what best floors are worth on other images."""
    found = with_sweeps(make_inputs())
    rng, rows = np.random.default_rng(7), []
    for model, method in found.sweep[["model", "method"]].drop_duplicates().itertuples(index=False):
        for metric, floor in zip(HELD_OUT, (np.nan, np.nan, 0.3), strict=True):
            mean = rng.uniform(0.3, 0.5)
            rows.append(["d", model, method, metric, mean, mean - 0.01, mean + 0.01, 384, 0, floor])
    sweep = pd.concat([found.sweep, pd.DataFrame(rows, columns=found.sweep.columns)], ignore_index=True)
    return dataclasses.replace(found, sweep=sweep)


def test_the_table_shows_both(inputs):
    table = TABLES["threshold_sweep"].function(inputs)
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(to_csv(table)))}
    without = dataclasses.replace(inputs, sweep=inputs.sweep[inputs.sweep["metric"] == "alignment"])
    before = TABLES["threshold_sweep"].function(without)
    known = inputs.sweep.set_index(["model", "method", "metric"])
    for old in csv.DictReader(io.StringIO(to_csv(before))):
        row = rows[old["model"]]
        assert {key: row[key] for key in old if "held_out" not in key} == {
            key: value for key, value in old.items() if "held_out" not in key
        }
        for role, method in (("relu_after", "gradcam"), ("relu_before", "threshold_gradcam")):
            for metric in HELD_OUT:
                name = f"{role}_{metric.replace('_alignment', '')}"
                expected = known.loc[(old["model"], method, metric)].squeeze()
                assert float(row[name]) == pytest.approx(expected["mean"], abs=1e-6)
                assert float(row[f"{name}_ci_low"]) == pytest.approx(expected["ci_low"], abs=1e-6)
            assert [row[f"{role}_held_out_{half}_floor"] for half in ("even", "odd")] == ["none", "0.3"]
    assert "Held out" in to_markdown(table)
    assert "Held out" not in to_markdown(before)
    assert any(note.startswith("Held out: every other image") for note in table.notes)
    assert len(FLOORS) == 5
