"""Folders of one's own photographs: labels, names, boxes and lists from what a user may bring, and damage in words."""

import io
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from PIL import Image
from timm.data import ImageNetInfo

from camstudy.core.errors import CamstudyError
from camstudy.core.kinds import after
from camstudy.core.ledger import table_of
from camstudy.core.paths import expanded
from camstudy.data.archives import missing_root
from camstudy.data.dataset import ATTRIBUTES, open_dataset
from camstudy.data.formats.boxes import parse_objects
from camstudy.data.formats.files import Files, Root
from camstudy.data.formats.folder import read_folder
from camstudy.data.formats.photographs import Photograph, decode, readable, write_photographs
from camstudy.data.sources import SOURCES
from camstudy.pipeline import paths
from camstudy.tables.notes import skipped


def png(level=0, size=(4, 6), dtype=np.uint8):
    buffer = io.BytesIO()
    Image.fromarray(np.full(size, level, dtype)).save(buffer, "PNG")
    return buffer.getvalue()


def tree(root, *names, **texts):
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    for name, text in texts.items():
        (root / name.replace("_", ".")).write_text(text)
    return root


def labels(found):
    return {item.name: item.label for item in found.photographs}


def test_the_first_folder_is_the_class_at_any_depth(tmp_path):
    tree(tmp_path, "dog/a.png", "cat/deep/b.PNG", "cat/c.jpeg", "ant/d.png", "ant/notes.txt")
    found = read_folder(tmp_path)
    assert labels(found) == {"ant/d.png": 0, "cat/c.jpeg": 1, "cat/deep/b.PNG": 1, "dog/a.png": 2}
    assert found.class_names == found.keys == ["ant", "cat", "dog"]


def test_folders_of_numbers_are_those_numbers(tmp_path):
    tree(tmp_path, "10/a.png", "2/b.png", "0/c.png")
    assert labels(read_folder(tmp_path)) == {"0/c.png": 0, "10/a.png": 10, "2/b.png": 2}
    assert read_folder(tmp_path).class_names is None


def test_what_systems_leave_is_no_data_and_links_are_entered(tmp_path):
    names = [".hidden/a.png", "cat/.b.png", "__MACOSX/cat/._c.png", "cat/.ipynb_checkpoints/d.png", "cat/Thumbs.db"]
    tree(tmp_path / "data", *names, "cat/good.png")
    tree(tmp_path / "elsewhere", "e.png")
    (tmp_path / "data/dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data/dog/back").symlink_to(tmp_path / "data")
    assert labels(read_folder(tmp_path / "data")) == {"cat/good.png": 0, "dog/e.png": 1}


@pytest.mark.parametrize("name", ["cat/gone.jpg", "bird"])
def test_links_that_lead_nowhere_are_told_and_do_not_make_data_smaller(tmp_path, name):
    tree(tmp_path / "data", "cat/a.png", "dog/b.png", "cat/notes.txt")
    (tmp_path / "data/cat/other").symlink_to(tmp_path / "no")
    assert labels(read_folder(tmp_path / "data")) == {"cat/a.png": 0, "dog/b.png": 1}
    (tmp_path / "data" / name).symlink_to(tmp_path / "unmounted")
    with pytest.raises(CamstudyError, match=f"links that lead nowhere: {name}; mount or mend what they lead to"):
        read_folder(tmp_path / "data")


def test_without_labels_all_images_are_taken_in_order(tmp_path):
    tree(tmp_path, "b.png", "a/c.png")
    found = read_folder(tmp_path, labels=None)
    assert [(item.name, item.label) for item in found.photographs] == [("a/c.png", -1), ("b.png", -1)]
    assert found.class_names is None
    with pytest.raises(CamstudyError, match=r"b\.png: is in no folder, and folders are the classes; move it, or set"):
        read_folder(tmp_path)


def test_classes_of_imagenet_by_synset_name_or_number(tmp_path):
    info = ImageNetInfo("imagenet-1k")
    tree(tmp_path, "n02123045/a.png", "tench/b.png", "Egyptian_cat/c.png", t_csv="file,label\ntench/b.png,281\n")
    found = read_folder(tmp_path, classes="imagenet")
    synsets = info.label_names()
    assert labels(found) == {"n02123045/a.png": synsets.index("n02123045"), "tench/b.png": 0, "Egyptian_cat/c.png": 285}
    assert found.class_names == info.label_descriptions()
    assert found.keys == synsets
    by_number = read_folder(tmp_path, labels="t.csv", classes="imagenet")
    assert labels(by_number) == {"tench/b.png": 281}
    tree(tmp_path, "crane/d.png")  # a bird, and a machine
    with pytest.raises(CamstudyError, match=r"crane/d\.png: unknown class in `imagenet`: `crane`"):
        read_folder(tmp_path, classes="imagenet")


def test_several_directories_and_a_list_of_some_images(tmp_path):
    tree(tmp_path / "one/photos", "cat/a.png", "dog/a.png", l_txt="photos-2/cat/b.png\nphotos-1/dog/a.png\n")
    tree(tmp_path / "two/photos", "cat/b.png")
    root, more = Root(tmp_path / "one/photos"), [str(tmp_path / "two/photos")]
    found = read_folder(root, more_roots=more)
    expected = {"photos-1/cat/a.png": 0, "photos-1/dog/a.png": 1, "photos-2/cat/b.png": 0}
    assert labels(found) == expected
    some = read_folder(root, more_roots=more, subset="l.txt")
    assert [item.name for item in some.photographs] == ["photos-2/cat/b.png", "photos-1/dog/a.png"]
    write(tmp_path / "d.json", some.files, some.photographs)
    text = root.record(table_of(tmp_path / "d.json"), "")
    (tmp_path / "two/photos/cat/b.png").write_bytes(png(77))
    again = Root(tmp_path / "one/photos")
    other = read_folder(again, more_roots=more, subset="l.txt")
    other.files.hash(item.name for item in other.photographs)
    assert again.record(table_of(tmp_path / "e.json"), "") != text


def test_images_of_other_formats_are_named_and_not_passed_over(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4)).save(buffer, "WEBP")
    tree(tmp_path, "cat/a.png", "cat/b.jpe", "cat/c.JFIF", "dog/d.webp")
    (tmp_path / "dog/d.webp").write_bytes(buffer.getvalue())
    found = read_folder(tmp_path)
    assert found.class_names == ["cat", "dog"]
    kept, (text,) = readable(found.files, found.photographs)
    assert sorted(item.name for item in kept) == ["cat/a.png", "cat/b.jpe", "cat/c.JFIF"]
    assert text.endswith("dog/d.webp: neither a JPEG nor a PNG file, but a WebP file; save it as JPEG or PNG")


def test_folders_that_are_no_classes_or_cannot_be_read_are_told(tmp_path, monkeypatch):
    tree(tmp_path / "one", "train/cat/a.png", "val/cat/b.png")
    with pytest.raises(CamstudyError, match="folders train, val are parts of a data set, and folders are"):
        read_folder(tmp_path / "one")
    tree(tmp_path / "two", "cat/a.png", "dog/b.png", c_txt="ant\ncat\ndog\n")
    (tmp_path / "two/ant").mkdir()
    (tmp_path / "two/__MACOSX").mkdir()
    with pytest.raises(CamstudyError, match="the folder ant is empty, and folders are the classes; put images there"):
        read_folder(tmp_path / "two")
    assert set(labels(read_folder(tmp_path / "two", classes="c.txt")).values()) == {1, 2}
    scandir = os.scandir

    def shut(path):
        if str(path).endswith("dog"):
            raise PermissionError
        return scandir(path)

    monkeypatch.setattr(os, "scandir", shut)
    with pytest.raises(CamstudyError, match=r"two/dog: may not be read; make it readable"):
        read_folder(tmp_path / "two", labels=None)


def test_names_that_are_no_text_and_directories_in_each_other_are_told(tmp_path):
    tree(tmp_path, "d/a.png")
    with pytest.raises(CamstudyError, match="so that its images would be there twice; name one"):
        read_folder(tmp_path, labels=None, more_roots=[str(tmp_path / "d")])
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/d/\xff.png")).write_bytes(png())
    with pytest.raises(CamstudyError, match=r"names that are no text in UTF-8: 'd/\\udcff\.png'; rename them"):
        read_folder(tmp_path)


def test_the_source_and_its_roots(tmp_path, monkeypatch):
    tree(tmp_path / "photos", "cat/a.png", "dog/b.png")
    entry = dict.fromkeys(("classes", "num_classes", "subset")) | {
        "labels": "folders",
        "more_roots": [],
        "boxes": False,
    }
    entry |= {"source": "folder", "root": "~/photos"}
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("HERE", "photos")
    source = SOURCES["folder"]
    assert source.truths(entry) == {"labels"}
    assert source.truths(entry | {"labels": None}) == set()
    for root in ("~/photos", "$HOME/$HERE", "${HOME}/photos"):
        assert paths.root(entry | {"root": root}) == expanded(root) == str(tmp_path / "photos")
        assert missing_root(entry | {"root": root}) is None
    assert missing_root(entry | {"root": "$NOWHERE_AT_ALL/x"}).startswith(
        f"no directory `$NOWHERE_AT_ALL/x` in {tmp_path.cwd()} (there is no variable $NOWHERE_AT_ALL); make it and put"
    )
    assert missing_root(entry | {"more_roots": ["~/none"]}).startswith(f"no directory `{tmp_path}/none`; make it")
    assert source.listing(entry, Root(paths.root(entry))).classes == ["cat", "dog"]
    assert len(source.read(entry, Root(paths.root(entry))).photographs) == 2


def test_labels_in_the_study_itself(tmp_path):
    tree(tmp_path, "a.png", "deep/b.png", "c.png")
    found = read_folder(tmp_path, labels={"deep/b.png": "espresso", "a.png": "n02123159"}, classes="imagenet")
    assert labels(found) == {"a.png": 282, "deep/b.png": 967}
    assert read_folder(tmp_path, labels={"a.png": 3, "c.png": 5}).photographs[0].label in (3, 5)
    with pytest.raises(CamstudyError, match=r"`labels`: names images that are not there: d\.png; correct the names"):
        read_folder(tmp_path, labels={"a.png": "espresso", "d.png": "espresso"})
    unlabeled = read_folder(tmp_path, labels=None, classes="imagenet")
    assert set(labels(unlabeled).values()) == {-1}
    assert unlabeled.class_names[967] == "espresso"


def test_paths_in_installed_packages():
    import skimage

    assert Path(expanded("package:skimage/data")) == Path(skimage.__file__).parent / "data"
    assert missing_root({"source": "folder", "root": "package:skimage/data"}) is None
    for name in ("no_such_package", "../skimage"):
        root = f"package:{name}/data"
        assert expanded(root) == root
    told = missing_root({"source": "folder", "root": "package:no_such_package/data"})
    assert told == (
        "no directory `package:no_such_package/data`: the Python package `no_such_package` is not installed; install "
        "it into the environment of camstudy, or name a path"
    )


# Files that are not what they should be.


def write(manifest, files, items, **options):
    write_photographs(manifest, files, items, attrs=dict.fromkeys(ATTRIBUTES), identity="f", **{"chunk": 2, **options})
    return open_dataset(manifest)


DAMAGED = {
    "cut.png": (png(3, (50, 50), np.uint8)[:-30], "cannot be decoded"),
    "empty.png": (b"", "neither a JPEG nor a PNG file, but an empty file; fetch it again"),
    "gif.png": (b"GIF89a", "neither a JPEG nor a PNG file, but a GIF file; save it as JPEG or PNG"),
    "lfs.png": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "a pointer of Git LFS instead of the file; run `git lfs",
    ),
    "web.png": (b"\n<!DOCTYPE html><html>", "but a web page; its address asks for something first, or has moved"),
}


def test_all_damaged_files_are_named_at_once_or_left_out(tmp_path):
    good = [f"{number}.png" for number in range(4)]
    tree(tmp_path / "images", *good)
    for name, (content, _) in DAMAGED.items():
        (tmp_path / "images" / name).write_bytes(content)
    items = [Photograph(name, 0) for name in sorted([*good, *DAMAGED])]
    with pytest.raises(CamstudyError) as raised:
        write(tmp_path / "d.json", Files(tmp_path / "images"), items)
    first, *lines = str(raised.value).splitlines()
    assert first == "5 files cannot be used; with `on_error: skip` they are left out:"
    for line, (name, (_, text)) in zip(lines, sorted(DAMAGED.items()), strict=True):
        assert line.startswith(f"  {tmp_path}/images, {name}: ")
        assert text in line
    kept, texts = readable(Files(tmp_path / "images"), items, chunk=3)
    assert [item.name for item in kept] == good
    assert [f"  {text}" for text in texts] == lines
    found = write(tmp_path / "d.json", Files(tmp_path / "images"), kept)
    assert [image[0, 0, 0] for image in found.images()] == [0, 1, 2, 3]


def test_a_box_outside_its_image_stops_its_image_alone(tmp_path):
    tree(tmp_path / "images", "a.png", "b.png")
    inside, outside = np.array([[3, 5, 4, 6]]), np.array([[4, 0, 9, 2]])  # the last pixel, and below the last row
    items = [Photograph("a.png", 0, boxes=outside), Photograph("b.png", 0, boxes=inside)]
    kept, (text,) = readable(Files(tmp_path / "images"), items)
    assert [item.name for item in kept] == ["b.png"]
    assert "a.png: the box of top, left, bottom, right [4, 0, 9, 2] lies outside the image" in text
    write(tmp_path / "d.json", Files(tmp_path / "images"), kept)
    assert xarray.open_zarr(tmp_path / "d.zarr", consolidated=False)["box"].values.tolist() == [[3, 5, 4, 6]]


def test_a_box_of_one_pixel_is_one():
    text = b"<annotation><object><name>dog</name><bndbox><xmin>3</xmin><ymin>5</ymin><xmax>3</xmax><ymax>5</ymax>"
    (found,) = parse_objects(text + b"</bndbox></object></annotation>", "x", first=1)
    assert found.edges == (4, 2, 5, 3)


def test_fetching_again_is_said_where_it_may_help():
    assert after(FileNotFoundError()) == after(OSError("Input/output error")) == "fetch it again"
    assert after(PermissionError()) == "make it readable (`chmod u+r`)"
    for content, advice in (
        (png()[:30], "fetch it again"),
        (png()[:8] + png()[20:], "fetch it again"),
        (b"\xff\xd8 cut", "fetch it again"),
        (b"", "fetch it again"),
        (b"a note", "x: neither a JPEG nor a PNG file; give a JPEG or PNG file in its place"),
        (b"%PDF-1.4", "save it as JPEG or PNG"),
        (png()[:8] + b"\0\0\0\x04IHDR\0\0\0\x06\x1b\x6d\x4c\x55", "fetch it again"),  # a header cut off
        (b"\0\0\0\x18ftypheix", "a HEIF or AVIF file; save it as JPEG or PNG"),
        (b"\x93NUMPY", "a NumPy array; save it as JPEG or PNG"),
    ):
        with pytest.raises(CamstudyError) as raised:
            decode(content, "x")
        assert str(raised.value).endswith(advice)
        assert "0x" not in str(raised.value)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (257, 1), (32896, 128), (65535, 255), (300, 1)])
def test_grey_of_16_bits_is_scaled(value, expected):
    assert (decode(png(value, (4, 6), np.uint16), "x") == np.full((4, 6, 3), expected)).all()


def test_images_too_large_to_decode_are_told_by_their_size(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(CamstudyError, match=r"x: is too large to be decoded \(Image size \(24 pixels\) exceeds"):
        decode(png(), "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html><body>Log in", r"is a web page, expected a MATLAB file; its address asks for something first"),
        (
            b"version https://git-lfs.github.com/spec/v1",
            r"is a pointer of Git LFS instead of the file, expected a MATLAB",
        ),
        (
            b"\x89HDF\r\n\x1a\n",
            r"is a MATLAB 7\.3 file, which is another format; load it in MATLAB and save it with `-v7`",
        ),
    ],
)
def test_files_that_are_no_matlab_are_called_what_they_are(tmp_path, content, message):
    (tmp_path / "meta.mat").write_bytes(content)
    with pytest.raises(CamstudyError, match=message):
        Files(tmp_path).read_matlab("meta.mat")


def test_notes_of_tables_tell_how_many_were_left_out():
    def notes(**dataset):
        return [*skipped(SimpleNamespace(dataset={"dataset": "mine", **dataset}))]

    assert notes() == []
    assert notes(skipped=1) == ["1 image that cannot be used was left out of mine."]
    assert notes(skipped=1200) == ["1,200 images that cannot be used were left out of mine."]
