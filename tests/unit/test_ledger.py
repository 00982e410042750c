"""The ledger of files from outside: what it notices, what it does not mind, and text that a run leaves as it was."""

import hashlib
import json
import os
import threading
import time

import pytest
from trees import (
    as_distributed,
    as_files,
    as_train,
    cat2000,
    cub200,
    gaze_table,
    imagenet_boxes,
    jpeg,
    mit1003,
    mit1003_observers,
    salicon,
    voc2012,
)

from camstudy.core import ledger
from camstudy.core.errors import CamstudyError
from camstudy.core.ledger import accepted, content, note, outside, read_header, refresh, walk
from camstudy.data.formats.files import Root
from camstudy.data.sources import SOURCES

IMAGENET = {"source": "imagenet", "num_classes": 4, "split": "val", "boxes": False}


def prepare(entry, root, table, text=None, n=None):
    """Read a source and note what was read, as the job that packs it does."""
    text = outside(table, root) if text is None else text
    found = Root(root)
    collection = SOURCES[entry["source"]].function(entry, found)
    collection.files.hash(item.name for item in collection.photographs[:n])
    return found.record(table, text)


@pytest.fixture
def table(tmp_path):
    return tmp_path / "results/data.sources.jsonl"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


def replace(path, change):
    """Change a file and its time; both of its own size and of another."""
    before = path.stat()
    path.write_bytes(change(path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))


def flip(data):
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def settle(path):
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 5_000_000_000))


TREES = {
    "imagenet": (as_files, IMAGENET),
    "boxes": (lambda root: (as_files(root), imagenet_boxes(root)), IMAGENET | {"boxes": True}),
    "training": (as_train, IMAGENET | {"split": "train"}),
    "archives": (as_distributed, IMAGENET),
    "voc": (voc2012, {"source": "voc2012", "split": "val", "keep_difficult": False}),
    "voc archive": (
        lambda root: voc2012(root, packed=True),
        {"source": "voc2012", "split": "val", "keep_difficult": False},
    ),
    "cub": (cub200, {"source": "cub200", "split": "test", "num_classes": 3}),
    "mit1003": (mit1003, {"source": "mit1003", "sigma": None}),
    "mit1003 observers": (mit1003_observers, {"source": "mit1003", "sigma": None}),
    "gaze table": (gaze_table, {"source": "gaze_table", "sigma": 9, "table": "fixations.csv"}),
    "salicon": (salicon, {"source": "salicon", "sigma": None}),
    "salicon archives": (lambda root: salicon(root, packed=True), {"source": "salicon", "sigma": None}),
    "cat2000": (cat2000, {"source": "cat2000", "sigma": None}),
}
# Files that are replaced by others of the same size: photographs, and what is known of them.
REPLACED = [
    ("imagenet", "ILSVRC2012_val_00000003.JPEG"),
    ("imagenet", "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"),
    ("imagenet", "ILSVRC2012_devkit_t12/data/meta.mat"),
    ("boxes", "ILSVRC2012_bbox_val_v3/val/ILSVRC2012_val_00000002.xml"),
    ("training", "train/n02119789/n02119789_3.JPEG"),
    ("archives", "ILSVRC2012_img_val.tar"),
    ("archives", "ILSVRC2012_devkit_t12.tar.gz"),
    ("voc", "VOCdevkit/VOC2012/JPEGImages/2008_000003.jpg"),
    ("voc", "VOCdevkit/VOC2012/Annotations/2008_000003.xml"),
    ("voc", "VOCdevkit/VOC2012/ImageSets/Main/val.txt"),
    ("voc archive", "VOCtrainval_11-May-2012.tar"),
    ("cub", "CUB_200_2011/images/003.Sooty_Albatross/Sooty_Albatross_0003_1078.jpg"),
    ("cub", "CUB_200_2011/bounding_boxes.txt"),
    ("mit1003", "ALLSTIMULI/one.jpeg"),
    ("mit1003", "ALLFIXATIONMAPS/one_fixPts.jpg"),
    ("mit1003 observers", "DATA/hp/one.mat"),
    ("gaze table", "fixations.csv"),
    ("salicon", "fixations/train/COCO_train2014_one.mat"),
    ("salicon archives", "fixations.zip"),
    ("cat2000", "trainSet/FIXATIONLOCS/Action/001.mat"),
]


@pytest.mark.parametrize(("tree", "name"), REPLACED)
def test_a_file_of_the_same_size_in_its_place_is_noticed(root, table, tree, name):
    build, entry = TREES[tree]
    build(root)
    first = prepare(entry, root, table)
    assert outside(table, root) == ""
    before = (root / name).read_bytes()
    replace(root / name, flip)
    assert (root / name).stat().st_size == len(before)
    seen = refresh(table, root)
    assert seen != first
    assert outside(table, root) == seen
    # Repaired, though at another time.
    replace(root / name, lambda _: before)
    assert refresh(table, root) == first
    assert outside(table, root) == ""


@pytest.mark.parametrize("tree", TREES)
def test_touching_everything_changes_nothing_and_is_read_once(root, table, tree, monkeypatch):
    build, entry = TREES[tree]
    build(root)
    first = prepare(entry, root, table)
    for path in root.rglob("*"):
        settle(path)
    assert refresh(table, root) == first
    monkeypatch.setattr(ledger, "sha256_file", None)  # from here on nothing may be read
    before = table.stat().st_mtime_ns
    assert refresh(table, root) == first
    assert table.stat().st_mtime_ns == before
    assert outside(table, root) == ""


@pytest.mark.parametrize("tree", TREES)
def test_without_any_of_the_files_what_was_recorded_stands(root, table, tree):
    build, entry = TREES[tree]
    build(root)
    prepare(entry, root, table, text="0123456789abcdef")
    root.rename(root.parent / "away")
    assert refresh(table, root) is None
    assert outside(table, root) == "0123456789abcdef"
    root.mkdir()  # where a disk is to be mounted
    assert outside(table, root) == "0123456789abcdef"
    root.rmdir()
    (root.parent / "away").rename(root)
    assert outside(table, root) == "0123456789abcdef"


@pytest.mark.parametrize(
    ("tree", "name"),
    [
        ("imagenet", "ILSVRC2012_val_00000008.JPEG"),
        ("training", "train/n01440764/more/x.png"),
        ("mit1003", "ALLSTIMULI/c.jpg"),
    ],
)
def test_additions_and_removals_are_noticed(root, table, tree, name):
    build, entry = TREES[tree]
    build(root)
    first = prepare(entry, root, table)
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_bytes(jpeg(99))
    added = refresh(table, root)
    assert added not in (first, None)
    (root / name).unlink()
    assert refresh(table, root) == first
    image = next(path for path in sorted(root.rglob("*")) if path.suffix.lower() in (".jpeg", ".jpg"))
    image.rename(root.parent / "away")
    removed = refresh(table, root)
    assert removed not in (first, added, None)
    (root.parent / "away").rename(image)
    assert refresh(table, root) == first


def test_files_that_no_reader_takes_may_come_and_go(root, table):
    as_train(root)
    first = prepare(IMAGENET | {"split": "train"}, root, table)
    for name in (".DS_Store", "train/Thumbs.db", "train/n01440764/._n01440764_1.JPEG", "train/notes.txt", "val.jpg"):
        (root / name).write_text("x")
    assert refresh(table, root) == first
    # Another split in the same root.
    (root / "val").mkdir()
    (root / "val/a.JPEG").write_bytes(jpeg(1))
    assert refresh(table, root) == first


def test_what_would_be_read_instead_is_noticed(root, table):
    as_files(root)
    first = prepare(IMAGENET, root, table)
    (root / "ILSVRC2012_img_val.tar").touch()
    assert refresh(table, root) != first
    (root / "ILSVRC2012_img_val.tar").unlink()
    assert refresh(table, root) == first


def test_of_a_subset_files_that_are_not_packed_count_by_name(root, table):
    as_train(root)
    entry = IMAGENET | {"split": "train"}
    first = prepare(entry, root, table, n=5)
    rows = [json.loads(line) for line in table.read_text().splitlines()[1:]]
    packed = [name for name, _, _, sha256 in rows if sha256]
    others = [name for name, _, _, sha256 in rows if not sha256]
    assert len(packed) == 5
    assert len(others) == 27
    replace(root / others[0], flip)
    assert refresh(table, root) == first
    (root / others[1]).unlink()  # another choice might follow
    assert refresh(table, root) != first


def test_the_table_has_what_was_read(root, table):
    cub200(root)
    digest = prepare(TREES["cub"][1], root, table)
    header, *rows = [json.loads(line) for line in table.read_text().splitlines()]
    assert header["places"] == ["CUB_200_2011"]
    assert header["content"] == digest
    assert len(digest) == 16
    read = {name: sha256 for name, _, _, sha256 in rows if sha256}
    for name, size, stamp, sha256 in rows:
        path = root / name
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (size, stamp)
        assert sha256 in (None, hashlib.sha256(path.read_bytes()).hexdigest())
    assert {name for name in read if name.endswith(".jpg")} == {
        str(path.relative_to(root)) for path in root.rglob("*.jpg") if name_of_test(path)
    }
    assert len([name for name in read if name.endswith(".txt")]) == 5


def name_of_test(path):
    """Whether an image of CUB is in its split for testing."""
    return path.name in (
        "Black_Footed_Albatross_0046_18.jpg",
        "Laysan_Albatross_0082_524.jpg",
        "Sooty_Albatross_0003_1078.jpg",
    )


def test_whatever_was_read_counts(tmp_path, table):
    for name in ("list", ".hidden.txt", "other"):
        (tmp_path / "root/folder").mkdir(parents=True, exist_ok=True)
        (tmp_path / "root/folder" / name).write_text("text")
    files = Root(tmp_path / "root")
    files.find("folder").hash(["list", ".hidden.txt"])
    first = files.record(table, "")
    (tmp_path / "root/folder/other").write_text("TEXT!")
    assert refresh(table, files) == first
    for name in ("list", ".hidden.txt"):
        (tmp_path / "root/folder" / name).write_text("Text!")
        assert refresh(table, files) != first
        (tmp_path / "root/folder" / name).write_text("text")
        assert refresh(table, files) == first


def test_only_what_changed_is_read_again(root, table, monkeypatch):
    as_train(root)
    prepare(IMAGENET | {"split": "train"}, root, table)
    read, real = [], ledger.sha256_file
    monkeypatch.setattr(ledger, "sha256_file", lambda path: read.append(path) or real(path))
    changed = root / "train/n02119789/n02119789_3.JPEG"
    replace(changed, flip)
    assert refresh(table, root) == refresh(table, root)
    assert read == [changed]


@pytest.mark.parametrize("absolute", [True, False])
def test_single_files_in_any_place(tmp_path, table, monkeypatch, absolute):
    """As weights, or shards of one's own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "weights.pth").write_bytes(b"some weights")
    path = str(tmp_path / "weights.pth") if absolute else "../weights.pth"
    assert outside(table) == ""
    first = note(table, [path], outside(table))
    assert outside(table) == ""
    replace(tmp_path / "weights.pth", flip)
    second = outside(table)
    assert second not in ("", first)
    assert note(table, [path], second) == second
    assert outside(table) == second
    (tmp_path / "weights.pth").unlink()
    assert outside(table) == second


# Text in identities: the same when a run is planned and after it.


class World:
    """Files whose content is a number, a table or a record of what was made of it, and the text of each plan."""

    def __init__(self):
        self.header, self.now = None, "c0"

    def plan(self):
        return content(self.header, self.now)

    def run(self):
        before = self.plan()
        self.header = {"accepted": before, "content": self.now}
        assert self.plan() == before
        return before


def test_text_is_the_same_before_and_after_a_run():
    world = World()
    assert world.run() == ""
    world.now = "c1"
    assert world.plan() == "c1"
    assert world.run() == "c1"
    world.now = "c0"  # back, after results were made of the other
    assert world.run() == "c0"
    world.now = None  # not there
    assert world.plan() == "c0"
    world.now = "c2"
    assert world.run() == "c2"


def test_an_edit_that_is_taken_back_before_a_run_changes_nothing():
    world = World()
    world.run()
    world.now = "c1"
    assert world.plan() == "c1"
    world.now = "c0"
    assert world.plan() == ""


def test_text_changes_with_the_content_even_if_a_run_found_other_than_was_planned():
    """A new file is planned by name, size and time, and made by its content."""
    header = {"accepted": "planned", "content": "found"}
    assert content(header, "found") == "planned"
    assert content(header, "other") == "other"


A, B = "a" * 64, "b" * 64


def test_a_pin_of_what_was_fetched_changes_nothing_and_another_does():
    assert accepted(None, None) == accepted(A, None) == ""
    record = {"sha256": A, "accepted": accepted(None, None)}
    assert [accepted(pin, record) for pin in (None, A, A.upper())] == ["", "", ""]
    assert accepted(B, record) == B
    # The run with the new pin writes down the text that it was planned with.
    record = {"sha256": B, "accepted": B}
    assert [accepted(pin, record) for pin in (None, B)] == [B, B]
    assert accepted(A, record) == A
    assert accepted(None, {"sha256": A}) == ""


# Whatever else happens


def test_names_of_any_bytes(root, table):
    (root / "train/n01440764").mkdir(parents=True)
    name = os.fsdecode("train/n01440764/œuf\n".encode() + b"\xff.JPEG")
    (root / name).write_bytes(jpeg(1))
    first = prepare(IMAGENET | {"num_classes": 1, "split": "train"}, root, table)
    os.utime(root / name)
    assert refresh(table, root) == first
    replace(root / name, flip)
    assert refresh(table, root) != first


def test_links_are_followed_but_for_those_to_nothing_and_in_circles(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("four")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/linked").symlink_to(tmp_path / "real/a")
    (tmp_path / "tree/folder").symlink_to(tmp_path / "real")
    (tmp_path / "tree/nothing").symlink_to(tmp_path / "nowhere")
    (tmp_path / "real/up").symlink_to(tmp_path / "tree")
    assert {name: size for name, (size, _) in walk(tmp_path / "tree").items()} == {"linked": 4, "folder/a": 4}
    assert walk(tmp_path / "nowhere") == {}


def test_without_a_table_nothing_is_known(root, table):
    assert refresh(table, root) is None
    assert outside(table, root) == ""


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", "5", '{"accepted": ""}\n', "[" * 100_000, None])
def test_a_broken_table_is_named(root, table, content):
    table.parent.mkdir()
    if content is None:
        table.mkdir()
    else:
        table.write_text(content)
    with pytest.raises(CamstudyError, match=r"data\.sources\.jsonl: not a table of files .*delete it"):
        outside(table, root)


@pytest.mark.parametrize("line", ["{", "5", "[1]", '["a", 1, 2, 3, 4]', "[" * 100_000])
def test_a_broken_line_of_a_table_is_named(root, table, line):
    as_train(root)
    prepare(IMAGENET | {"split": "train"}, root, table)
    table.write_text(f"{table.read_text()}{line}\n")
    os.utime(next(root.rglob("*.JPEG")))
    with pytest.raises(CamstudyError, match=r"data\.sources\.jsonl: not a table of files .*delete it"):
        outside(table, root)


def test_a_table_that_has_changed_is_named(root, table):
    cub200(root)
    prepare(TREES["cub"][1], root, table)
    seen, whole = refresh(table, root), table.read_bytes()
    for old, new in ((b'"CUB_200_2011"', b'"CUB_200_2010"'), (b'"accepted": ""', b'"accepted": "0"')):
        assert old in whole
        table.write_bytes(whole.replace(old, new, 1))
        with pytest.raises(CamstudyError, match=r"data\.sources\.jsonl: .*has changed .*delete it and \S*data\.json,"):
            refresh(table, root)
    # The lines are read once a file has another time.
    for other in (root / "CUB_200_2011").rglob("*.txt"):
        os.utime(other, (1, 1))
    end = whole.index(b"\n") + 1
    for damaged in (whole[:end], whole[:-1] + b" \n", whole[:end] + whole[end:].replace(b".jpg", b".jpf")):
        table.write_bytes(damaged)
        with pytest.raises(CamstudyError, match=r"data\.sources\.jsonl: .*list of files has changed"):
            refresh(table, root)
    # An earlier version sealed none.
    header, _, rows = whole.partition(b"\n")
    earlier = {key: value for key, value in json.loads(header).items() if key not in ("seal", "rows")}
    table.write_bytes(json.dumps(earlier).encode() + b"\n" + rows)
    assert refresh(table, root) == seen
    table.unlink()
    table.symlink_to(table.name)
    assert read_header(table) is None


def test_several_heads_at_a_time_leave_a_whole_table(root, table):
    as_train(root)
    first = prepare(IMAGENET | {"split": "train"}, root, table)
    results, stop = [], time.monotonic() + 2

    def head(number):
        while not results or time.monotonic() < stop:
            for path in root.rglob("*.JPEG"):
                os.utime(path, ns=(number, time.time_ns()))
            results.append(refresh(table, root))

    heads = [threading.Thread(target=head, args=(number,)) for number in range(4)]
    for one in heads:
        one.start()
    for one in heads:
        one.join()
    assert set(results) == {first}
    assert outside(table, root) == ""
    assert [path.name for path in table.parent.iterdir()] == [table.name]


def test_a_result_that_is_made_meanwhile_is_not_overwritten(root, table, monkeypatch):
    as_train(root)
    entry = IMAGENET | {"split": "train"}
    prepare(entry, root, table)
    replace(root / "train/n02119789/n02119789_3.JPEG", flip)
    real = ledger._read_again

    def late(*arguments):
        prepare(entry, root, table, text="of the run")
        return real(*arguments)

    monkeypatch.setattr(ledger, "_read_again", late)
    refresh(table, root)
    assert read_header(table)["accepted"] == "of the run"
    assert content(read_header(table), refresh(table, root)) == "of the run"
