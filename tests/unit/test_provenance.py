"""Fingerprints, checksums, versions, atomic JSON and the records of runs."""

import hashlib
import json
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from camstudy.core import provenance
from camstudy.core.damage import set_aside
from camstudy.core.errors import CamstudyError, Damaged
from camstudy.core.identity import canonical
from camstudy.core.provenance import (
    fingerprint,
    read_json,
    run_record_path,
    sha256_file,
    verify,
    versions,
    write_json,
    write_record,
    write_run_record,
)
from camstudy.pipeline.verifying import damages

ROOT = Path(provenance.__file__).parents[2]


def test_order_and_comments_of_a_configuration_do_not_matter():
    one = yaml.safe_load("{model: a, dcls: {kernel_size: 17, version: v1}, sizes: [1, 2]}")
    other = yaml.safe_load("# a note\nsizes: [1, 2]\ndcls:\n  version: v1  # why\n  kernel_size: 17\nmodel: a\n")
    assert canonical(one) == canonical(other)
    assert canonical({"b": 1, "a": {"d": "ü", "c": None}}) == '{"a":{"c":null,"d":"ü"},"b":1}'


@pytest.mark.parametrize(
    ("one", "other"),
    [([1, 2], [2, 1]), ({"a": 1}, {"a": "1"}), ({"a": True}, {"a": 1}), ({"a": None}, {}), (0.1, 0.10001)],
)
def test_different_content_differs(one, other):
    assert canonical(one) != canonical(other)
    assert fingerprint(x=one) != fingerprint(x=other)


def test_values_that_json_does_not_know_are_refused():
    with pytest.raises(TypeError):
        canonical({"array": np.zeros(2)})


def test_fingerprint_is_the_sha256_of_the_canonical_text():
    assert fingerprint(b=[1], a="x") == hashlib.sha256(b'{"a":"x","b":[1]}').hexdigest()
    assert fingerprint(a=1, b=2) != fingerprint(a=2, b=1)


def test_checksums_of_files(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    # The published SHA-256 of "abc".
    assert sha256_file(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_versions_name_packages_alone():
    assert versions("numpy") == {"numpy": np.__version__}


def test_a_run_is_recorded_beside_its_result(tmp_path):
    started = time.time() - 3
    write_run_record(tmp_path / "gradcam.json", started, "mine", device="cpu", batch_size=4)
    assert [path.name for path in tmp_path.iterdir()] == ["gradcam.run.json"]
    record = read_json(run_record_path(tmp_path / "gradcam.json"))
    facts = {"camstudy", "commit", "host", "platform", "python", "started", "seconds", "study", "device", "batch_size"}
    assert record.keys() == facts
    assert (record["study"], record["device"], record["batch_size"]) == ("mine", "cpu", 4)
    assert record["python"] == ".".join(map(str, sys.version_info[:3]))
    assert 3 <= record["seconds"] < 60
    assert datetime.fromisoformat(record["started"]).timestamp() == pytest.approx(started, abs=1)


def test_the_commit_is_that_of_the_repository_of_the_code(tmp_path, monkeypatch):
    def commit():
        write_run_record(tmp_path / "a.json", 0)
        return read_json(tmp_path / "a.run.json")["commit"]

    repository = tmp_path / "clone"
    (repository / "camstudy").mkdir(parents=True)
    monkeypatch.setattr(provenance, "PACKAGE", repository / "camstudy")
    assert commit() is None  # unpacked from an archive
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=repository, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True)
    assert commit() == head.stdout.strip()
    monkeypatch.setenv("PATH", "")
    assert commit() is None  # no git


def test_json_is_written_in_one_step(tmp_path):
    path = tmp_path / "new" / "record.json"
    write_json(path, {"b": "ü", "a": [1]})
    assert read_json(path) == {"a": [1], "b": "ü"}
    assert json.loads(path.read_text()).keys() == {"a", "b", "seal", "written_as"}
    with pytest.raises(TypeError):
        write_json(path, {"bad": object()})
    assert read_json(path) == {"a": [1], "b": "ü"}
    assert list(path.parent.iterdir()) == [path]


def test_old_json_survives_a_failing_write(tmp_path, monkeypatch):
    path = tmp_path / "record.json"
    write_json(path, {"a": 1})

    def full_disk(self, text):
        with self.open("w") as file:
            file.write(text[:3])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, {"a": 2})
    assert read_json(path) == {"a": 1}


NOT_OURS = {
    "cut": b'{"a": ',
    "empty": b"",
    "nothing in it": b"{}",
    "a list": b"[]",
    "a number": b"1e999",
    "digits without end": b'{"a": ' + b"9" * 5000 + b"}",
    "nested without end": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "half a character": rb'{"a": "\ud800", "seal": "12", "written_as": "x"}',
    "other bytes": b'{"a": "\xff"}',
    "a seal of another kind": b'{"a": NaN, "seal": [], "written_as": {}}',
}


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS)
def test_what_nobody_has_written_is_damaged(tmp_path, content):
    path = tmp_path / "record.json"
    path.write_bytes(content)
    with pytest.raises(Damaged, match=r"record\.json: ") as error:
        read_json(path)
    assert "\n" not in str(error.value)


def put(path, kind):
    """Put what is no file in the place of one."""
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
        (path / "file").touch()
    else:
        path.symlink_to({"link to nothing": "nowhere", "link to itself": path.name}[kind])


no_files = pytest.mark.parametrize("kind", ["folder", "link to nothing", "link to itself"])


@no_files
def test_what_is_no_file_is_damaged_and_set_aside(tmp_path, kind):
    table, record = tmp_path / "a.parquet", tmp_path / "a.json"
    # As often as it happens.
    for _ in range(2):
        put(record, kind)
        with pytest.raises(Damaged, match=r"a\.json: is no file") as error:
            read_json(record)
        set_aside(error.value)
        table.write_bytes(b"scores")
        write_record(record, "one", table)
        put(table, kind)
        with pytest.raises(Damaged, match=r"a\.parquet: no such file, though") as error:
            verify(table, record)
        set_aside(error.value)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json.damaged", "a.parquet.damaged"]


@pytest.mark.parametrize("stated", [5, ["a"], {"": "ab"}, {"..": "ab"}, {"../../x": "ab"}, {"\0": "ab"}])
def test_a_record_names_files_beside_it(tmp_path, stated):
    write_json(tmp_path / "a.json", {"identity": "one", "sha256": stated, "files": stated})
    found = [str(error) for error in damages([tmp_path / "a.json"])]
    assert len(found) == 1
    assert "a.json: does not say which files it describes" in found[0]


def test_all_damaged_files_of_a_record_are_named(tmp_path):
    tables = [tmp_path / name for name in ("a.parquet", "a.curves.parquet", "a.steps.parquet")]
    for table in tables:
        table.write_bytes(b"scores")
    write_record(tmp_path / "a.json", "one", *tables)
    for table in tables[:2]:
        table.write_bytes(b"scored")
    # Each is set aside, and its record with it, before the next is asked for.
    told = [set_aside(error) for error in damages([tmp_path / "a.json"])]
    assert len(told) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.curves.parquet.damaged",
        "a.json.damaged",
        "a.parquet.damaged",
        "a.steps.parquet",
    ]


def test_missing_and_broken_json_are_the_users_to_mend(tmp_path):
    path = tmp_path / "record.json"
    with pytest.raises(CamstudyError, match=r"record\.json: no such file; run the rule"):
        read_json(path)
    path.write_text('{"a": ')
    with pytest.raises(CamstudyError, match=r"record\.json: not valid JSON"):
        read_json(path)


def test_json_that_has_changed_or_is_another_s_is_damaged(tmp_path):
    path = tmp_path / "results" / "models" / "net" / "model.json"
    write_json(path, {"parameters": 1234, "training": None, "ratio": 0.1})
    content, noticed = path.read_bytes(), 0
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 7
        path.write_bytes(changed)
        try:
            # Other spaces say the same.
            assert read_json(path) == {"parameters": 1234, "training": None, "ratio": 0.1}
        except Damaged:
            noticed += 1
    assert noticed > 0.9 * len(content)
    path.write_bytes(content)
    other = tmp_path / "results" / "models" / "other" / "model.json"
    other.parent.mkdir()
    other.write_bytes(content)
    with pytest.raises(Damaged, match=r"other/model\.json: was written as models/net/model\.json and is no record of"):
        read_json(other)
    # The whole of the results may lie elsewhere.
    moved = (tmp_path / "results").rename(tmp_path / "kept")
    assert read_json(moved / "models" / "net" / "model.json")["parameters"] == 1234


def test_files_are_what_their_records_describe(tmp_path):
    table, record = tmp_path / "a.parquet", tmp_path / "a.json"
    table.write_bytes(b"scores")
    write_record(record, "one", table)
    assert verify(table, record) == table
    table.write_bytes(b"scored")
    with pytest.raises(Damaged, match=r"a\.parquet: is not the file that .*a\.json describes \(sha256 ") as error:
        verify(table, record)
    set_aside(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json.damaged", "a.parquet.damaged"]
    write_record(record, "one", tmp_path / "a.parquet.damaged")
    with pytest.raises(Damaged, match=r"a\.parquet: no such file, though"):
        verify(table, record)
