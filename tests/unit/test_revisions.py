"""Which revision a digest joins or begins, by golden results; results here are made up."""

import numpy as np
import pandas as pd
import pytest

from tests.golden.__main__ import Report, renew, revise
from tests.golden.values import differences, named, read

OLD = {"maps number 3": np.array([1.0, 2.0, 4.0])}
ROUNDED = {"maps number 3": np.array([1.0, 2.0, 4.000001])}
CHANGED = {"maps number 3": np.array([1.0, -2.0, 4.0])}


def begun(data, digests, results, table=None, **more):
    table = {} if table is None else table
    return table, revise(table, digests, results.get, data, **more)


@pytest.fixture
def first(tmp_path):
    """A table and a folder in which the method `a` and the table `b` have their first revision."""
    table, report = begun(tmp_path, {"method:a": "d1", "table:b": "e1"}, {"method:a": OLD})
    assert table == {"method:a": {"d1": 1}, "table:b": {"e1": 1}}
    assert not report.began
    return table, tmp_path


@pytest.mark.parametrize(("found", "revision"), [(OLD, 1), (ROUNDED, 1), (CHANGED, 2), (OLD | {"more": np.ones(1)}, 2)])
def test_equal_results_join_and_others_begin_a_revision(first, found, revision):
    table, data = first
    _, report = begun(data, {"method:a": "d2", "table:b": "e1"}, {"method:a": found}, table)
    assert table == {"method:a": {"d1": 1, "d2": revision}, "table:b": {"e1": 1}}
    assert report.began == (revision == 2)
    # From then on, the last result counts.
    begun(data, {"method:a": "d3", "table:b": "e1"}, {"method:a": found}, table)
    assert table["method:a"]["d3"] == revision


def test_what_is_listed_is_not_computed(first):
    table, data = first
    _, report = begun(data, {"method:a": "d1", "table:b": "e1"}, {"method:a": CHANGED}, table)
    assert (report.lines, table["method:a"]) == ([], {"d1": 1})


def test_without_a_golden_result_every_digest_begins_a_revision(first):
    table, data = first
    begun(data, {"method:a": "d2", "table:b": "e2"}, {"method:a": OLD}, table)
    assert table == {"method:a": {"d1": 1, "d2": 1}, "table:b": {"e1": 1, "e2": 2}}


@pytest.mark.parametrize(("also", "revision"), [({}, 1), ({"other": np.ones(1)}, 2)])
def test_what_a_part_of_a_step_changed_is_not_the_steps_doing(tmp_path, also, revision):
    both = {"family:a": OLD, "score": OLD | {"other": np.zeros(1)}}
    table, _ = begun(tmp_path, {"family:a": "d1", "score": "e1"}, both)
    both = {"family:a": CHANGED, "score": CHANGED | {"other": np.zeros(1)} | also}
    begun(tmp_path, {"family:a": "d2", "score": "e2"}, both, table)
    assert table == {"family:a": {"d1": 1, "d2": 2}, "score": {"e1": 1, "e2": revision}}


def test_a_revision_can_be_asked_for_and_units_that_are_gone_are_forgotten(first):
    table, data = first
    begun(data, {"method:a": "d1"}, {"method:a": OLD}, table, forced=["method:a"])
    assert table == {"method:a": {"d1": 2}}


def test_results_that_follow_other_code_are_renewed_and_others_are_reported(first):
    _, data = first
    report = Report()
    renew({"method:a": "d1"}, {"method:a": CHANGED}, data, report)
    assert report.puzzling
    report = Report(began=True)
    renew({"method:a": "d1"}, {"method:a": CHANGED}, data, report)
    assert not report.puzzling
    report = Report()
    renew({"method:a": "d1"}, {"method:a": CHANGED}, data, report)
    assert report.lines == []


def test_more_cases_of_code_that_did_not_change_begin_no_revision(first):
    _, data = first
    more = {"method:a": ROUNDED | {"more": np.ones(1)}, "method:b": OLD}
    digests = {"method:a": "d1", "method:b": "d1"}
    report = Report()
    renew(digests, more, data, report)
    assert len(report.lines) == 2
    assert not report.puzzling
    report = Report()
    renew(digests, more, data, report)
    assert report.lines == []
    renew(digests, {"method:a": OLD}, data, report)
    assert report.puzzling, "a case that is gone is none of more"


def test_a_change_of_one_value_shows_in_a_sketch():
    values = np.random.default_rng(0).random((2, 50, 60))
    name, before = named("maps", values)
    assert name == "maps number 2x50x60"
    assert before.size == 32
    for place in ((0, 0, 0), (1, 49, 59), (1, 20, 3)):
        other = values.copy()
        other[place] += 0.01
        assert differences({name: before}, dict([named("maps", other)]), 1e-6) == [name]
    assert differences({name: before}, dict([named("maps", values * (1 + 1e-9))]), 1e-6) == []
    for broken in (np.nan, np.inf):
        other = values.copy()
        other[1, 7, 7] = broken
        assert differences({name: before}, dict([named("maps", other)]), 1e-3) == [name]


def test_whole_numbers_and_text_are_compared_exactly():
    counts = np.arange(10)
    name, before = named("label", counts * 10**6)
    assert differences({name: before}, dict([named("label", counts * 10**6 + (counts == 3))]), 1e-3) == [name]
    assert named("name", ["a", "b"])[1] != named("name", ["a", "c"])[1]


def test_tables_are_read_without_what_differs_by_machine(tmp_path):
    frame = {"image": [1, 2], "hits": [[1, 2], [3]], "seconds": [0.1, 0.2], "ok": pd.array([True, None], "boolean")}
    pd.DataFrame(frame).to_parquet(tmp_path / "x.parquet")
    found = dict(read(tmp_path / "x.parquet"))
    assert found.keys() == {"image", "hits", "ok"}
    assert found["hits"].tolist() == [1, 2, 3]
    np.testing.assert_array_equal(found["ok"], [1, np.nan])
