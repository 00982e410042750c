"""What a protocol's name stands for in results/: the same study may change it, another may not."""

import pytest

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import read_json
from camstudy.study.claims import claim, refuse_taken

FIRST = {"family": "faithfulness", "title": "Mine", "step": 12544, "blur": 11}
OTHER = FIRST | {"step": 1792}


def config(study, entry, n_images=None):
    return {"study": study, "n_images": n_images, "catalog": {"protocols": {"mine": entry}}}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def noted(place):
    return read_json(place / "results/protocols/mine.json")


def test_the_first_study_to_score_says_what_a_name_stands_for(elsewhere):
    refuse_taken(config("first", FIRST), ["mine"])
    claim(config("first", FIRST), "mine")
    expected = {"study": "first", "definition": {"family": "faithfulness", "step": 12544, "blur": 11}}
    assert noted(elsewhere) == expected
    # Another title, order or study is the same definition, and the note stays.
    before = (elsewhere / "results/protocols/mine.json").stat().st_mtime_ns
    claim(config("second", {**dict(reversed(FIRST.items())), "title": "Ours"}), "mine")
    assert (elsewhere / "results/protocols/mine.json").stat().st_mtime_ns == before
    assert noted(elsewhere) == expected


@pytest.mark.parametrize("ask", [claim, lambda config, name: refuse_taken(config, [name])])
def test_another_study_with_another_definition_is_told_whose_it_is(elsewhere, ask):
    claim(config("first", FIRST), "mine")
    with pytest.raises(CamstudyError) as caught:
        ask(config("second", OTHER), "mine")
    assert str(caught.value) == (
        "protocol `mine`: study `first` has made scores under this name with step 12544, yours has step 1792; give it "
        "another name, or delete results/protocols/mine.json, and this study makes its scores anew"
    )
    assert noted(elsewhere)["study"] == "first"


def test_the_same_study_may_change_its_mind_after_a_trial_too(elsewhere):
    claim(config("first-n64", FIRST, 64), "mine")
    assert noted(elsewhere)["study"] == "first"
    claim(config("first", OTHER), "mine")
    assert noted(elsewhere) == {"study": "first", "definition": {"family": "faithfulness", "step": 1792, "blur": 11}}
    with pytest.raises(CamstudyError, match="study `first`"):
        claim(config("first-n64", FIRST), "mine")


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"definition": {}, "study": "x"}', None])
def test_a_damaged_note_claims_nothing_and_is_written_anew(elsewhere, content):
    claim(config("first", FIRST), "mine")
    note = elsewhere / "results/protocols/mine.json"
    note.unlink()
    if content is None:
        note.mkdir()
    else:
        note.write_text(content)
    refuse_taken(config("second", OTHER), ["mine"])
    claim(config("second", OTHER), "mine")
    assert noted(elsewhere)["study"] == "second"
