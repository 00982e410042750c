"""Links that lead nowhere, in a folder of results or in its place."""

import pytest

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import write_json
from camstudy.pipeline.disk import check_folders, disk_mistake
from camstudy.pipeline.links import dangling_links


def test_only_links_to_nothing_are_found(tmp_path):
    for name in ("file", "folder/inner"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    for name, target in {
        "to_file": "file",
        "to_folder": "folder",
        "b": "nowhere",
        "a": "a",
        "folder/c": "gone",
    }.items():
        (tmp_path / name).symlink_to(target)
    # One that leads to itself leads nowhere, too; what is deeper was not asked for.
    assert dangling_links(tmp_path) == [str(tmp_path / name) for name in ("a", "b")]
    assert dangling_links(tmp_path / "nothing") == []


def test_one_that_leads_to_itself_is_told(tmp_path):
    link = tmp_path / "models"
    link.symlink_to("models")
    with pytest.raises(OSError, match="symbolic links") as raised:
        (link / "model.json").read_bytes()
    assert disk_mistake(raised.value) == (
        f"{link}/model.json: leads through a link to itself; remove that link, and what is missing is made anew"
    )


def test_one_in_the_place_of_a_folder_is_told(tmp_path):
    link = tmp_path / "model"
    link.symlink_to("/nowhere/model")
    with pytest.raises(FileExistsError) as raised:
        write_json(link / "model.json", {"identity": "x"})
    assert disk_mistake(raised.value) == (
        f"{link}: a link to /nowhere/model, which is not there; mount or make that, or remove the link"
    )
    # A file in that place is told, too, wherever below it something is to be.
    link.unlink()
    link.write_text("")
    with pytest.raises(FileExistsError) as raised:
        write_json(link / "model.json", {"identity": "x"})
    told = f"{link}: is a file, and a folder is to be there; move it away, or work elsewhere"
    assert disk_mistake(raised.value) == told
    with pytest.raises(NotADirectoryError) as raised:
        (link / "folder" / "log").write_text("")
    assert disk_mistake(raised.value) == told
    with pytest.raises(CamstudyError) as raised:
        check_folders([tmp_path / "other" / "log", link / "folder" / "log"])
    assert str(raised.value) == told
    # Files of folders that are there, or are yet to be made.
    check_folders([link, tmp_path / "other" / "log"])
    # A file that is there already is in nobody's place.
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileExistsError) as raised:
        (tmp_path / "folder").mkdir()
    assert disk_mistake(raised.value) is None
