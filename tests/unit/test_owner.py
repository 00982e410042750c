"""Checkouts that share results by a link: one writes, the others are told which."""

import shutil

import pytest

from camstudy.core.errors import CamstudyError
from camstudy.pipeline.owner import take_results


@pytest.fixture
def checkouts(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    (first / "results").mkdir(parents=True)
    second.mkdir()
    (second / "results").symlink_to(first / "results")
    return first, second


def test_the_first_that_writes_owns_the_results(checkouts):
    first, second = checkouts
    take_results(first)
    take_results(first)
    with pytest.raises(CamstudyError, match=rf"second/results: is shared with {first}, which writes it") as error:
        take_results(second)
    assert str(second / "results/.owner") in str(error.value)
    (second / "results/.owner").unlink()
    take_results(second)
    with pytest.raises(CamstudyError, match=f"is shared with {second}"):
        take_results(first)


@pytest.mark.parametrize("change", ["gone", "other results", "copied"])
def test_who_has_other_results_by_now_owns_them_no_more(checkouts, tmp_path, change):
    first, second = checkouts
    take_results(second)
    if change == "copied":
        shutil.copytree(first, tmp_path / "third")
        take_results(tmp_path / "third")
        return
    (second / "results").unlink()
    if change == "gone":
        second.rmdir()
    else:
        (second / "results").mkdir()
    take_results(first)
    assert (first / "results/.owner").read_text() == f"{first}\n"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\0x", b"elsewhere", b"/" + b"x" * 5000, None])
def test_a_damaged_note_names_nobody(checkouts, content):
    note = checkouts[0] / "results/.owner"
    if content is None:
        note.mkdir()
    else:
        note.write_bytes(content)
    take_results(checkouts[0])
    assert note.read_text() == f"{checkouts[0]}\n"


def test_without_results_nothing_is_noted(tmp_path):
    take_results(tmp_path)
    assert list(tmp_path.iterdir()) == []
