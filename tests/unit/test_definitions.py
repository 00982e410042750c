"""The page of definitions names tests that there are."""

import re

from conftest import ROOT


def test_every_comparison_names_the_tests_that_hold_it():
    section = (ROOT / "docs/definitions.md").read_text().partition("## Compared with others")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    for row in rows:
        *_, tests, _ = row.split("|")
        named = re.findall(r"`(test_\w+\.py)`", tests)
        assert named, row
        assert all((ROOT / "tests/unit" / name).exists() for name in named), row
