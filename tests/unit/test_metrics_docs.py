"""docs/metrics.md is what the registry says, and the registry says what is needed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from camstudy.metrics.families import METRICS
from camstudy.metrics.registry import Metric
from camstudy.study.metrics_reference import reference

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/metrics.md"


def test_reference_is_up_to_date():
    command = [sys.executable, "-m", "camstudy.study.metrics_reference"]
    fresh = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert REFERENCE.read_text() == fresh, f"docs/metrics.md is stale: python -m {command[-1]} > docs/metrics.md"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_section_with_all_there_is_to_know(name):
    sections = re.split(r"^### ", REFERENCE.read_text(), flags=re.MULTILINE)
    (section,) = (text for text in sections if text.startswith(f"{name}\n"))
    metric = METRICS[name]
    assert "Edge cases:" in section
    assert f"- Source: {metric.source}\n" in section
    assert {"up": "higher", "down": "lower"}[metric.direction] in section
    assert all(f"`{parameter}`" in section for parameter in metric.parameters)
    assert ">>>" not in section


def test_a_new_metric_appears(monkeypatch):
    def distance(maps, *, power=2):
        """Return |a| < b, with `power`.

        Edge cases: none.

        >>> 1 + 1
        2
        """

    facts = ("new", "down", (0.0, float("inf")), "image", "Distance", "a test", ("heatmap",), "nat")
    monkeypatch.setitem(METRICS._entries, "distance", Metric("distance", distance, *facts))
    text = reference()
    assert "| [`distance`](#distance) | new | 0 to ∞ | lower | nat |" in text
    expected = "### distance\n\n\\|a\\| \\< b, with `power`.\n\nEdge cases: none.\n\n- Range 0 to ∞, lower is better;"
    assert expected in text
    assert "- Parameters: `power` = 2\n" in text


def test_links_lead_to_headings():
    text = REFERENCE.read_text()
    headings = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert set(re.findall(r"\(#([^)]+)\)", text)) == headings == set(METRICS)
    for page in re.findall(r"\]\(([a-z]+\.md)\)", text):
        assert (ROOT / "docs" / page).is_file()
