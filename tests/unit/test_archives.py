"""Archives fetched from a real server in a thread, in their owners' formats: whole and checked, or refused in words."""

import functools
import hashlib
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from trees import cifar, cub200, voc2012

from camstudy.core.errors import CamstudyError
from camstudy.core.identity import parts
from camstudy.core.provenance import write_record
from camstudy.data.archives import archives_of, check_archives, fetch_archive, place_of
from camstudy.data.formats.files import Root
from camstudy.data.sources import SOURCES, Archive
from camstudy.pipeline import paths
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.sources import Sources
from camstudy.study.study import Study

BIRDS = "CUB_200_2011.tgz"
WEB_PAGE = b"<!DOCTYPE html><html><body>This data set has moved.</body></html>"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder and the address under which its files are served."""
    folder = tmp_path / "server"
    folder.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield folder, f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    http.server_close()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("write", "file", "entry", "labels"),
    [
        (cub200, BIRDS, {"source": "cub200", "num_classes": 3, "split": "test"}, [0, 1, 2]),
        (
            voc2012,
            "VOCtrainval_11-May-2012.tar",
            {"source": "voc2012", "split": "val", "keep_difficult": False},
            [19, 11, 14, 0],
        ),
        (
            functools.partial(cifar, version="cifar100"),
            "cifar-100-binary.tar.gz",
            {"source": "cifar100", "split": "test"},
            [94, 74, 79],
        ),
    ],
)
def test_what_was_fetched_is_read_in_place(server, tmp_path, write, file, entry, labels):
    folder, address = server
    write(folder, packed=True)
    entry = entry | {"root": None, "archives": {file: {"url": f"{address}/{file}", "sha256": sha256(folder / file)}}}
    (name, archive), place = *archives_of(entry).items(), tmp_path / "raw"
    assert (name, archive.url, archive.sha256) == (file, f"{address}/{file}", sha256(folder / file))
    assert archive.page == archives_of({"source": entry["source"]})[file].page
    assert fetch_archive(file, archive, place / file, ["mine"]) == sha256(folder / file)
    assert [path.name for path in place.iterdir()] == [file]
    found = SOURCES[entry["source"]].read(entry, Root(place))
    assert [item.label for item in found.photographs] == labels


@pytest.mark.parametrize(
    ("content", "sha", "message"),
    [
        (None, None, "HTTP 404 Not Found"),
        (WEB_PAGE, None, "cannot be read as a folder, tar or zip archive"),
        (b"", None, "cannot be read as a folder, tar or zip archive"),
        ("half", None, "cannot be read as a folder, tar or zip archive"),
        ("whole", "0" * 64, f"expected {'0' * 64}; nothing was kept"),
    ],
)
def test_what_is_not_the_archive_is_not_kept_and_the_error_says_what_to_do(server, tmp_path, content, sha, message):
    folder, address = server
    if content in ("half", "whole"):
        cub200(folder, packed=True)
        whole = (folder / BIRDS).read_bytes()
        content = whole[: len(whole) // 2] if content == "half" else whole
    if content is None:
        (folder / BIRDS).unlink(missing_ok=True)
    else:
        (folder / BIRDS).write_bytes(content)
    archive = Archive(f"{address}/{BIRDS}?token=secret", sha, "https://birds.org/page")
    with pytest.raises(CamstudyError) as raised:
        fetch_archive(BIRDS, archive, tmp_path / "raw" / BIRDS, ["birds_test", "birds_train"])
    text = str(raised.value)
    assert message in text
    assert f"fetch {BIRDS} yourself (https://birds.org/page says where it is now), put it into a folder" in text
    assert "`catalog.datasets.birds_test.root`, `catalog.datasets.birds_train.root`" in text
    assert f"{address}/{BIRDS}?..." in text
    assert "secret" not in text
    assert list((tmp_path / "raw").iterdir()) == []


def test_a_list_that_is_a_web_page_is_refused(server, tmp_path):
    folder, address = server
    (folder / "List.txt").write_bytes(b"\n " + WEB_PAGE)
    with pytest.raises(CamstudyError, match=r"is a web page, expected the file List\.txt; nothing was kept"):
        fetch_archive("List.txt", Archive(f"{address}/List.txt"), tmp_path / "List.txt", [])
    (folder / "List.txt").write_text("bar/one.jpg\n")
    fetch_archive("List.txt", Archive(f"{address}/List.txt"), tmp_path / "List.txt", [])
    assert (tmp_path / "List.txt").read_text() == "bar/one.jpg\n"


def test_a_root_wins_and_entries_of_the_same_files_share_a_place():
    test, train = ({"source": "cub200", "split": split, "root": None, "archives": None} for split in ("test", "train"))
    assert place_of(test) == place_of(train) == place_of({"source": "cub200"})
    assert re.fullmatch("cub200-[0-9a-f]{8}", place_of(test))
    assert paths.root(test) == f"results/raw/{place_of(test)}"
    assert archives_of(test | {"root": "birds"}) == {}
    assert paths.root(test | {"root": "birds"}) == "birds"
    # Another signature is no other address; another host is, whose files lie beside.
    signed = [{BIRDS: {"url": f"https://b.org/c.tgz?token={token}"}} for token in (1, 2)]
    elsewhere = [test | {"archives": archives} for archives in signed]
    assert place_of(elsewhere[0]) == place_of(elsewhere[1]) != place_of(test)
    assert archives_of({"source": "imagenet"}) == {}


def study(**entries):
    return Study(
        {
            "catalog": {"datasets": entries, "protocols": {}},
            **{"study": "s", "dataset": "birds", "prediction_dataset": None},
            **{"models": [], "methods": [], "controls": [], "protocols": [], "tables": [], "figures": []},
            **{"sweep": {"protocol": "floors"}, "cost": "speed"},
        }
    )


def test_what_is_prepared_has_the_identity_of_its_content_wherever_it_came_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = {"source": "cub200", "split": "test", "human_ceiling": None, "num_classes": 3, "n_images": None}
    entries = {
        "fetched": base | {"root": None, "archives": None},
        "mirrored": base | {"root": None, "archives": {BIRDS: {"url": "https://b.org/c.tgz"}}},
        "own": base | {"root": "somewhere"},
    }
    found = study(**entries)
    identity = Identities(found, Sources(found), lambda unit: "1")
    assert len({identity.dataset(name) for name in entries}) == 1
    assert sorted(len(place) for place in found.archives.values()) == [1, 1]


def test_a_checksum_that_one_entry_states_holds_for_all_and_one_that_the_file_has_changes_nothing(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    entry = {"source": "cub200", "archives": {BIRDS: {"url": "https://b.org/c.tgz", "sha256": None}}}
    pinned = entry | {"archives": {BIRDS: {"url": "https://b.org/c.tgz", "sha256": "a" * 64}}}
    place = place_of(entry)

    def planned(**entries):
        made = study(**entries)
        return Identities(made, Sources(made), lambda unit: "1").archive(place, BIRDS)

    before = planned(one=entry)
    record = tmp_path / paths.archive(place, BIRDS)
    record.parent.mkdir(parents=True)
    record.write_text('{"accepted": "", "sha256": "%s"}' % ("a" * 64))
    assert planned(one=entry) == planned(one=entry, two=pinned) == planned(two=pinned, one=entry) == before
    record.write_text('{"accepted": "", "sha256": "%s"}' % ("b" * 64))
    assert parts(planned(one=entry, two=pinned))["accepted"] == "a" * 64
    assert study(one=entry, two=pinned).archives[place][BIRDS].datasets == ["one", "two"]


def test_an_archive_that_was_deleted_is_told_with_its_record(tmp_path):
    (tmp_path / BIRDS).touch()
    write_record(tmp_path / f"{BIRDS}.json", "one", tmp_path / BIRDS)
    check_archives([f"{tmp_path / BIRDS}.json"])
    (tmp_path / BIRDS).unlink()
    with pytest.raises(CamstudyError, match=re.escape(f"no such file, though {tmp_path / BIRDS}.json is there")):
        check_archives([f"{tmp_path / BIRDS}.json"])
