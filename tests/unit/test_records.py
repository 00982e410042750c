"""Results without Snakemake's records: found, compared by identity, and told apart."""

import json
from pathlib import Path

import pytest
from snakemake.persistence.file import FilePersistence

from camstudy.pipeline.records import complaint, find_unrecorded, read_identity, record_path


@pytest.mark.parametrize("output", ["results/data/a.json", f"results/heatmaps/{'long/' * 60}map.json", "ä.json"])
def test_records_are_where_snakemake_keeps_them(output, tmp_path):
    persistence = FilePersistence(path=tmp_path)
    theirs = persistence._record_path(persistence._metadata_path, output)
    assert record_path(output, tmp_path / "metadata") == Path(theirs)


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Two manifests, a table with a run record, one with neither, one that is recorded; one result is missing."""
    monkeypatch.chdir(tmp_path)
    for name in ("same.json", "other.json", "recorded.json"):
        Path(name).write_text(json.dumps({"identity": "code=a model=b weights=c"}))
    Path("table.csv").write_text("1,2\n")
    Path("table.run.json").write_text(json.dumps({"identity": "code=a"}))
    Path("bare.csv").write_text("1,2\n")
    record = record_path("recorded.json", Path("metadata"))
    record.parent.mkdir()
    record.write_text("{}")
    planned = {"same.json": "code=a model=b", "other.json": "code=a model=x", "recorded.json": "code=z"}
    return [*planned.items(), ("table.csv", "code=a"), ("bare.csv", "code=a"), ("missing.json", "code=a")]


def test_results_without_a_record_are_compared(results):
    found = find_unrecorded(results, Path("metadata"))
    assert found.equal == ["same.json", "table.csv"]
    assert found.different == {"other.json": ["model"], "bare.csv": ["code"]}
    told = complaint(found)
    assert "has no record of: 2. What differs:" in told
    assert "other.json (model)" in told
    assert "(2 here)" in told


def test_what_a_killed_job_left_is_snakemakes_to_make_anew(results):
    note = record_path("bare.csv", Path("incomplete"))
    note.parent.mkdir()
    note.write_text("{}")
    assert find_unrecorded(results, Path("metadata")).different == {"other.json": ["model"]}


def test_a_long_list_is_cut(results):
    found = find_unrecorded(results, Path("metadata"))
    found.different |= {f"{number}.json": ["code"] for number in range(20)}
    assert "and 14 more" in complaint(found)


def test_a_damaged_manifest_has_no_identity(tmp_path):
    (tmp_path / "a.json").write_text("{")
    assert read_identity(tmp_path / "a.json") is None
    (tmp_path / "a.json").write_text("[1]")
    assert read_identity(tmp_path / "a.json") is None
