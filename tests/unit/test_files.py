"""Folders, tar and zip archives read by name: the same files in each, and the ways they can break."""

import gzip
import tarfile
import zipfile

import pytest

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.files import Files, find

CONTENTS = {"a.txt": b"first", "deep/er/B.TXT": b"second" * 100, "deep/c.bin": b""}


@pytest.fixture
def folder(tmp_path):
    for name, content in CONTENTS.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "folder"


def pack(folder, kind):
    path = folder.with_name(f"packed{kind}")
    if kind == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(folder / "deep", "deep/")
            for name in CONTENTS:
                archive.write(folder / name, name)
    else:
        with tarfile.open(path, "w:gz" if kind.endswith("gz") else "w") as archive:
            archive.add(folder, ".")
    return path


@pytest.mark.parametrize("kind", ["", ".zip", ".tar", ".tar.gz", ".tgz"])
def test_every_kind_has_the_same_files(folder, kind):
    files = Files(pack(folder, kind) if kind else folder)
    assert files.sizes == {name: len(content) for name, content in CONTENTS.items()}
    assert {name: files.read(name) for name in CONTENTS} == CONTENTS
    assert list(files.endswith(".txt")) == ["a.txt", "deep/er/B.TXT"]


@pytest.mark.parametrize("kind", ["", ".zip", ".tar", ".tar.gz"])
def test_many_are_read_in_the_order_asked_for_and_once_each(folder, kind, monkeypatch):
    files, seen = Files(pack(folder, kind) if kind else folder), []
    read = files.read
    monkeypatch.setattr(files, "read", lambda name: seen.append(name) or read(name))
    names = ["deep/c.bin", "a.txt", "deep/er/B.TXT", "a.txt"]
    assert files.read_all(names) == [CONTENTS[name] for name in names]
    assert sorted(seen) == sorted(CONTENTS)
    if ".tar" in kind:
        assert seen == list(files.sizes)  # as they lie in it


def test_the_folder_above_a_file(folder):
    files = Files(folder)
    assert files.above("er/B.TXT") == files.above("c.bin") == "deep/"
    assert files.above("a.txt") == ""
    assert files.above("B.TX") is None
    assert files.above(".txt") is None


@pytest.mark.parametrize("kind", ["", ".zip", ".tar", ".tar.gz"])
def test_parts_are_found_by_the_distributors_name(folder, kind):
    path = pack(folder, kind) if kind else folder
    path.rename(path.with_name(f"trainSet{kind}"))
    assert find(folder.parent, "trainSet").sizes.keys() == CONTENTS.keys()
    assert find(folder.parent, "testSet") is None


def test_members_that_point_outside_are_never_written(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        (tmp_path / "x").write_bytes(b"boo")
        archive.add(tmp_path / "x", "../../escaped")
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    files = Files(tmp_path / "evil.tar")
    assert list(files.sizes) == ["../../escaped"]  # a name to read by, no place to write to
    assert files.read("../../escaped") == b"boo"
    with pytest.raises(CamstudyError, match=r"has no '/etc/hostname'"):
        files.read("/etc/hostname")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.tar", "x"]


def test_lists_read_no_file_that_is_not_there(folder):
    (folder.parent / "secret").write_text("s3cr3t")
    for name in ("../secret", str(folder.parent / "secret")):
        with pytest.raises(CamstudyError, match="has no "):
            Files(folder).read(name)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 and no more"])
def test_files_that_are_no_archives_are_named(tmp_path, content):
    (tmp_path / "images.zip").write_bytes(content)
    with pytest.raises(CamstudyError, match=r"images\.zip: cannot be read as a folder, tar or zip"):
        Files(tmp_path / "images.zip")


def test_truncated_tar_is_named(folder):
    path = pack(folder, ".tar")
    with tarfile.open(path) as archive:
        start = archive.getmember("./deep/er/B.TXT").offset_data
    path.write_bytes(path.read_bytes()[: start + 100])
    with pytest.raises(CamstudyError, match=r"packed\.tar"):
        Files(path).read("deep/er/B.TXT")


def test_damaged_member_of_a_zip_is_named(folder):
    path = pack(folder, ".zip")
    with zipfile.ZipFile(path) as archive:
        start = archive.getinfo("deep/er/B.TXT").header_offset
    data = bytearray(path.read_bytes())
    data[start + 30 + len("deep/er/B.TXT") + 5] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CamstudyError, match=r"packed\.zip, deep/er/B\.TXT: cannot be read"):
        Files(path).read("deep/er/B.TXT")


def entries(path):
    """Return where the headers of a tar archive begin, and where it ends."""
    with tarfile.open(path) as archive:
        return [member.offset for member in archive], archive.offset


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_no_damage_of_a_tar_s_headers_loses_files_in_silence(tmp_path, folder, ending):
    """`tarfile` takes a damaged header for the end of the archive."""
    path = pack(folder, ".tar")
    content, (starts, end) = path.read_bytes(), entries(path)
    assert len(starts) > 2
    damaged = [(f"a header is damaged, at byte {start:,}", flipped(content, start + 3)) for start in starts[1:]]
    damaged += [(f"was cut off, at byte {start:,}", content[:start]) for start in [*starts[1:], end]]
    damaged += [("something that belongs to no file follows its end", content + b"more")]
    for message, changed in damaged:
        path = tmp_path / f"damaged{ending}"
        path.write_bytes(gzip.compress(changed) if ending.endswith("gz") else changed)
        with pytest.raises(CamstudyError, match=rf"damaged\.tar.*: cannot be read as .*{message}"):
            Files(path)


def flipped(content, position):
    return content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]


def test_a_compressed_tar_s_own_checksum_is_compared(tmp_path, folder):
    path = tmp_path / "damaged.tar.gz"
    content = gzip.compress(pack(folder, ".tar").read_bytes())
    path.write_bytes(flipped(content, len(content) - 6))
    with pytest.raises(CamstudyError, match="CRC check failed"):
        Files(path)
