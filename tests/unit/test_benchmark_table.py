"""The table of the benchmarks: limits in both directions, and columns that line up."""

import pytest

from benchmarks.run import NAMES, machine, main
from benchmarks.table import Row, failure, header


@pytest.mark.parametrize(
    ("figure", "limit", "met"),
    [
        *[(1.04, "<= 1.05", True), (1.06, "<= 1.05", False), (7.1, ">= 7", True), (6.9, ">= 7", False)],
        *[(7, ">= 7", True), (7, "<= 7", True), (7, "", None), (float("nan"), "<= 7", False)],
    ],
)
def test_a_limit_is_a_bound(figure, limit, met):
    assert Row("name", figure, limit, "").met is met


def test_lines_are_those_of_one_table():
    rows = [
        Row("short", 1.004, "<= 1.05", "1 ms / 1 ms"),
        Row("a longer name", 886.2, ">= 1000", "3 KiB / 2 KiB"),
        Row("no limit", 52.5, "", "40 jobs", unit="s"),
    ]
    titles, dashes, *lines = [*header().splitlines(), *map(str, rows), failure("store", "ValueError: no")]
    assert dashes.count("|") == titles.count("|")
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines] == [
        ["short", "1.00", "ratio", "<= 1.05", "yes", "1 ms / 1 ms"],
        ["a longer name", "886.20", "ratio", ">= 1000", "no", "3 KiB / 2 KiB"],
        ["no limit", "52.50", "s", "-", "-", "40 jobs"],
        ["store", "-", "-", "-", "FAILED", "ValueError: no"],
    ]
    places = {tuple(place for place, sign in enumerate(line[:-1]) if sign == "|") for line in (titles, *lines)}
    assert len(places) == 1


def test_machine_and_names():
    found = machine()
    assert all(part in found for part in ("cores", "torch", "numpy", "load"))
    assert {"store", "dag", "cluster"} <= set(NAMES)


def test_an_unknown_name_is_told(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["store", "stores"])
    assert "no benchmark is called stores; there are" in capsys.readouterr().err
