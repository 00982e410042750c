"""The table of the benchmarks: bounds in both directions, and columns that line up."""

import pytest

from benchmarks.run import is_met, machine, table


@pytest.mark.parametrize(
    ("ratio", "target", "met"),
    [(1.04, "<= 1.05", True), (1.06, "<= 1.05", False), (7.1, ">= 7", True), (6.9, ">= 7", False)],
)
def test_a_target_is_a_bound(ratio, target, met):
    assert is_met({"ratio": ratio, "target": target}) is met


def test_table_and_machine():
    rows = [
        {"name": "short", "ratio": 1.004, "target": "<= 1.05", "detail": "1 ms / 1 ms"},
        {"name": "a longer name", "ratio": 886.2, "target": ">= 1000", "detail": "3 KiB / 2 KiB"},
    ]
    header, first, second = table(rows).splitlines()
    assert first.split() == ["short", "1.00", "<=", "1.05", "yes", "1", "ms", "/", "1", "ms"]
    assert second.split()[:6] == ["a", "longer", "name", "886.20", ">=", "1000"]
    assert second.split()[6] == "no"
    assert header.index("measured") == first.index("1 ms") == second.index("3 KiB")
    assert "torch" in machine()
