"""Files from anywhere, damaged in every way: read as they are, or refused in one line, soon and in little memory."""

import io
import resource
import tarfile
import time
import zipfile

import numpy as np
import pytest
import safetensors.numpy
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.boxes import parse_objects
from camstudy.data.formats.clickme import ClickMe, encode_example
from camstudy.data.formats.files import Files
from camstudy.data.formats.photographs import check_image, decode
from camstudy.data.formats.tfrecord import parse_example, read_shard, serialize_example, write_shard
from camstudy.models.weights.checkpoints import load_state, read_metadata

SECONDS, MEMORY = 10, 2 << 30  # of one input

XML = b"""<annotation><filename>a.jpg</filename><size><width>60</width><height>40</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>20</ymax>
</bndbox></object></annotation>"""


def image(kind, mode="RGB"):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).convert(mode).save(stream, kind)
    return stream.getvalue()


def packed(kind):
    stream = io.BytesIO()
    files = {"list.txt": b"1 a.jpg\n2 b.jpg\n", "images/a.jpg": image("jpeg"), "images/b.jpg": b"x" * 700}
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(fileobj=stream, mode=f"w:{kind.partition('.')[2]}") as archive:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def matlab():
    stream = io.BytesIO()
    synsets = np.array([(1, "n01"), (2, "n02")], dtype=[("ID", "i4"), ("WNID", "O")])
    scipy.io.savemat(stream, {"synsets": synsets, "map": np.arange(12.0).reshape(3, 4)}, do_compression=True)
    return stream.getvalue()


def shard(folder):
    path = folder / "whole.tfrecord"
    pixels = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    write_shard(path, [encode_example(pixels, np.zeros((256, 256), np.uint8), 3)] * 2)
    return path.read_bytes()


def torch_file():
    stream = io.BytesIO()
    torch.save({"state_dict": {"fc.weight": torch.ones(3, 4), "fc.bias": torch.zeros(3)}}, stream)
    return stream.getvalue()


def file(folder, content, name):
    path = folder / name
    path.write_bytes(content)
    return path


def read_archive(folder, content, name="a"):
    files = Files(file(folder, content, name))
    for each in list(files.sizes)[:20]:
        files.read(each)


def read_matlab(folder, content):
    (folder / "below").mkdir(exist_ok=True)
    file(folder / "below", content, "a.mat")
    Files(folder / "below").read_matlab("a.mat", "synsets", "map")


def read_clickme(folder, content):
    list(ClickMe([str(file(folder, content, "a.tfrecord"))], num_classes=10).read([0]))


def weights(folder, content, name):
    path = file(folder, content, name)
    load_state(path)
    read_metadata(path)


# By kind: what is whole, and what reads it.
KINDS = {
    "tfrecord": (shard, lambda folder, content: list(read_shard(file(folder, content, "a.tfrecord")))),
    "clickme": (shard, read_clickme),
    "example": (
        lambda _: serialize_example({"label": 3, "image": b"abc", "boxes": [0.5, 1.0]}),
        lambda _, content: parse_example(content),
    ),
    "boxes": (lambda _: XML, lambda _, content: parse_objects(content, "a.xml", 1)),
    "matlab": (lambda _: matlab(), read_matlab),
    "jpeg": (lambda _: image("jpeg"), lambda _, content: (check_image(content, "a"), decode(content, "a"))),
    "png": (lambda _: image("png"), lambda _, content: (check_image(content, "a"), decode(content, "a"))),
    "tar": (lambda _: packed("tar"), read_archive),
    "tar.gz": (lambda _: packed("tar.gz"), read_archive),
    "zip": (lambda _: packed("zip"), read_archive),
    "safetensors": (
        lambda _: safetensors.numpy.save({"fc.weight": np.ones((3, 4), np.float32)}, {"dcls_version": "v1"}),
        lambda folder, content: weights(folder, content, "a.safetensors"),
    ),
    "torch": (lambda _: torch_file(), lambda folder, content: weights(folder, content, "a.pth")),
}

# Where, as a share of the content; what happens there; how much of it, and with what.
DAMAGE = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["flip", "set", "cut", "drop", "double", "insert"]),
        st.integers(1, 64),
        st.binary(min_size=1, max_size=16),
    ),
    min_size=1,
    max_size=4,
)


def damaged(content, edits):
    for share, kind, length, new in edits:
        at = int(share * len(content))
        rest = content[at:]
        content = (
            content[:at]
            + {
                "flip": bytes([rest[0] ^ (1 << length % 8)]) + rest[1:] if rest else b"",
                "set": (new + rest[len(new) :])[: len(rest)],
                "cut": b"",
                "drop": rest[length:],
                "double": rest[:length] + rest,
                "insert": new + rest,
            }[kind]
        )
    return content


def try_all(kind, folder, examples):
    make, read = KINDS[kind]
    whole = make(folder)
    read(folder, whole)

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(DAMAGE)
    def check(edits):
        content, started = damaged(whole, edits), time.monotonic()
        try:
            read(folder, content)
        except CamstudyError as error:
            refusals.append(str(error))
        assert time.monotonic() - started < SECONDS

    refusals = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    check()
    assert refusals
    assert not [text for text in refusals if "\n" in text]
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < MEMORY


@pytest.mark.full
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(tmp_path, kind):
    try_all(kind, tmp_path, 150)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files_are_read_or_refused(tmp_path, kind):
    try_all(kind, tmp_path, 5000)


def set_bytes(content, found, offset, value):
    """Return the content with bytes put ``offset`` after each place where some others are found."""
    edited, place = bytearray(content), content.find(found)
    assert place >= 0
    while place >= 0:
        edited[place + offset : place + offset + len(value)] = value
        place = content.find(found, place + 1)
    return bytes(edited)


# What readers of other projects have stumbled over, made from whole files: by kind and what is wrong.
CORPUS = {
    "zip of encrypted members": lambda whole: set_bytes(set_bytes(whole, b"PK\1\2", 8, b"\1"), b"PK\3\4", 6, b"\1"),
    "zip packed in a way that nobody knows": lambda whole: set_bytes(whole, b"PK\1\2", 10, b"\x63"),
    "zip of other bytes than their checksum says": lambda whole: set_bytes(whole, b"PK\1\2", 16, b"\0" * 4),
    "tar of a negative size": lambda whole: set_bytes(whole, b"list.txt", 124, b"\xff" * 12),
    "tar.gz that ends in the middle": lambda whole: whole[: len(whole) // 2],
    "tfrecord of more bytes than there are": lambda whole: b"\xff" * 7 + b"\x7f" + whole[8:],
    "safetensors with a header of an exabyte": lambda whole: b"\xff" * 7 + b"\x0f" + whole[8:],
    "safetensors that says the same twice": lambda whole: whole.replace(b'"dtype"', b'"shape"'),
    "torch of a pickle that calls": lambda whole: whole.replace(b"torch._utils", b"posix.system"),
    "boxes of entities without end": lambda whole: (
        b'<!DOCTYPE a [<!ENTITY b "&b;&b;">]>' + whole.replace(b"dog", b"&b;")
    ),
    "png of a terapixel": lambda whole: set_bytes(whole, b"IHDR", 4, b"\x00\x0f\xff\xff" * 2),
    "matlab of version 7.3": lambda whole: b"\x89HDF\r\n\x1a\n" + whole[8:],
}


@pytest.mark.parametrize("case", CORPUS)
def test_what_others_stumbled_over_is_refused_in_one_line(tmp_path, case):
    make, read = KINDS[case.partition(" ")[0]]
    with pytest.raises(CamstudyError) as refused:
        read(tmp_path, CORPUS[case](make(tmp_path)))
    assert "\n" not in str(refused.value)
