"""CIFAR's binary archives: pixels and labels of small ones in the true format, and what is said of damaged ones."""

import gzip

import numpy as np
import pytest
from trees import cifar

from camstudy.core.errors import CamstudyError
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.files import Root
from camstudy.data.formats.pixels import write_pixels
from camstudy.data.sources import SOURCES

TEST = {"cifar10": "test_batch.bin", "cifar100": "test.bin"}
FOLDER = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}


def read(root, version="cifar100", split="test"):
    return SOURCES[version].read({"split": split}, Root(root))


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("version", ["cifar10", "cifar100"])
def test_pixels_and_labels_are_those_of_the_files(tmp_path, version, packed):
    made = cifar(tmp_path, version, packed=packed)
    for split in ("train", "test"):
        found = read(tmp_path, version, split)
        files = [file for file in made if (file == TEST[version]) == (split == "test")]
        assert [item.label for item in found.photographs] == [n for file in files for n in made[file][0]]
        np.testing.assert_array_equal(found.pixels, np.concatenate([made[file][1] for file in files]))
        assert [item.item for item in found.photographs] == ["0", "1", "2"] * len(files)
        assert {item.name for item in found.photographs} <= found.files.sizes.keys()
        assert found.class_names[:2] == ["name0", "name1"]
        listing = SOURCES[version].listing({"split": split}, Root(tmp_path))
        assert (listing.images, listing.classes) == (3 * len(files), found.class_names)


def test_the_store_has_them_in_one_array(tmp_path):
    labels, pixels = cifar(tmp_path / "root", "cifar100", count=5)["test.bin"]
    found, manifest = read(tmp_path / "root"), tmp_path / "data.json"
    attrs = {"class_names": found.class_names}
    write_pixels(manifest, found.photographs, found.pixels, attrs=attrs, identity="it", chunk=2)
    store = open_dataset(manifest)
    np.testing.assert_array_equal(store.images(), pixels)
    np.testing.assert_array_equal(store.labels, labels)
    np.testing.assert_array_equal(store.shapes, [[32, 32]] * 5)
    assert store.names([0, 4]).tolist() == ["test.bin#0", "test.bin#4"]
    assert store.group["class_name"][1] == f"name{labels[1]}"


def test_a_file_that_ends_within_a_record_is_named_with_it(tmp_path):
    cifar(tmp_path, "cifar100", packed=False)
    file = tmp_path / "cifar-100-binary/test.bin"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CamstudyError, match=r"cifar-100-binary, test.bin, record 2: has 2974 of 3074 bytes.*cut off"):
        read(tmp_path)


def test_an_archive_that_is_cut_off_is_named(tmp_path):
    cifar(tmp_path, "cifar100")
    archive = tmp_path / "cifar-100-binary.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-3000])
    with pytest.raises(CamstudyError, match=r"cifar-100-binary.tar.gz.* cannot be read"):
        read(tmp_path)
    # Whole as it was compressed, but without the end of what was in it.
    cifar(tmp_path / "tar", "cifar100")
    archive = tmp_path / "tar/cifar-100-binary.tar.gz"
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes())[:4000]))
    with pytest.raises(CamstudyError, match=r"cifar-100-binary.tar.gz"):
        read(tmp_path / "tar")


@pytest.mark.parametrize(
    ("version", "place", "expected"), [("cifar10", 0, 9), ("cifar100", 0, 19), ("cifar100", 1, 99)]
)
def test_a_label_that_is_none_is_named_with_file_and_record(tmp_path, version, place, expected):
    cifar(tmp_path, version, packed=False)
    file = tmp_path / FOLDER[version] / TEST[version]
    content = bytearray(file.read_bytes())
    content[len(content) // 3 + place] = 200
    file.write_bytes(content)
    text = f"{TEST[version]}, record 1: has label 200, expected 0 to {expected}"
    with pytest.raises(CamstudyError, match=text):
        read(tmp_path, version)


def test_other_versions_are_told_apart(tmp_path):
    # The records of one under the name of the other.
    cifar(tmp_path, "cifar10", packed=False)
    (tmp_path / "cifar-10-batches-bin/test_batch.bin").rename(tmp_path / "cifar-10-batches-bin/test.bin")
    (tmp_path / "cifar-10-batches-bin").rename(tmp_path / "cifar-100-binary")
    with pytest.raises(CamstudyError, match=r"test.bin, record 2: has 3071 of 3074 bytes.* of another version"):
        read(tmp_path)
    (tmp_path / "python/cifar-100-python").mkdir(parents=True)
    with pytest.raises(CamstudyError, match=r"cifar-100-python: is the version for Python.* cifar-100-binary.tar.gz"):
        read(tmp_path / "python")
    (tmp_path / "renamed/cifar-100-binary").mkdir(parents=True)
    (tmp_path / "renamed/cifar-100-binary/test").touch()
    with pytest.raises(CamstudyError, match=r"has the version for Python, which has no test.bin"):
        read(tmp_path / "renamed")


def test_what_is_missing_is_said(tmp_path):
    with pytest.raises(CamstudyError, match=r"has no cifar-100-binary; put cifar-100-binary.tar.gz there"):
        read(tmp_path)
    cifar(tmp_path, "cifar10", packed=False)
    (tmp_path / "cifar-10-batches-bin/data_batch_3.bin").unlink()
    with pytest.raises(CamstudyError, match=r"has no data_batch_3.bin; fetch it again"):
        read(tmp_path, "cifar10", "train")
    names = tmp_path / "cifar-10-batches-bin/batches.meta.txt"
    names.write_text(names.read_text().replace("name4\n", ""))
    with pytest.raises(CamstudyError, match=r"batches.meta.txt: has 9 names, expected 10"):
        read(tmp_path, "cifar10")
