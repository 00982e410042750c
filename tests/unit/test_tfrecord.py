"""TFRecord shards against the `tfrecord` package and Google's protobuf, and the ways a shard can break."""

import struct

import crc32c
import numpy as np
import pytest
from google.protobuf.message import DecodeError
from tfrecord import example_pb2
from tfrecord.reader import tfrecord_loader
from tfrecord.writer import TFRecordWriter

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.tfrecord import (
    parse_example,
    read_records,
    read_shard,
    record_offsets,
    serialize_example,
    write_shard,
)

EXAMPLES = [
    {"image": b"\xff\xd8 first", "label": 7},
    {"image": b"", "label": -1},
    {"image": bytes(range(256)) * 300, "label": 2**63 - 1},
]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "val-0.tfrecords"
    assert write_shard(path, EXAMPLES) == 3
    return path


def starts(path):
    """Byte offsets of the records, by the format's own arithmetic."""
    data, offsets = path.read_bytes(), [0]
    while offsets[-1] < len(data):
        offsets.append(offsets[-1] + 16 + struct.unpack_from("<Q", data, offsets[-1])[0])
    return offsets[:-1]


def masked(data):
    crc = crc32c.crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def values(feature):
    return list(getattr(feature, feature.WhichOneof("kind")).value) if feature.WhichOneof("kind") else []


def test_the_oracles_crc_knows_the_published_check_value():
    assert crc32c.crc32c(b"123456789") == 0xE3069283


def test_written_shard_is_read_by_the_tfrecord_package(shard):
    found = list(tfrecord_loader(str(shard), None, {"image": "byte", "label": "int"}))
    assert [bytes(record["image"]) for record in found] == [example["image"] for example in EXAMPLES]
    assert [int(record["label"][0]) for record in found] == [example["label"] for example in EXAMPLES]


def test_written_crcs_equal_an_independent_crc32c(shard):
    data = shard.read_bytes()
    for start in starts(shard):
        (length,) = struct.unpack_from("<Q", data, start)
        assert struct.unpack_from("<I", data, start + 8)[0] == masked(data[start : start + 8])
        payload = data[start + 12 : start + 12 + length]
        assert struct.unpack_from("<I", data, start + 12 + length)[0] == masked(payload)


def test_shard_of_the_tfrecord_package_is_read(tmp_path):
    path = str(tmp_path / "foreign.tfrecords")
    writer = TFRecordWriter(path)
    writer.write({"image": (b"abc", "byte"), "label": (-3, "int"), "box": ([0.5, -1.25], "float")})
    writer.write({"label": ([1, 2, -(2**63)], "int")})
    writer.close()
    found = [parse_example(payload) for _, payload in read_shard(path)]
    assert found == [
        {"image": [b"abc"], "label": [-3], "box": [0.5, -1.25]},
        {"label": [1, 2, -(2**63)]},
    ]


def test_records_can_be_selected_by_their_places(shard):
    offsets = record_offsets(shard)
    assert offsets.tolist() == starts(shard)
    assert [index for index, _ in read_shard(shard)] == [0, 1, 2]
    (last, first) = read_records(shard, {2: offsets[2], 0: offsets[0]})
    assert (last[0], first[0]) == (2, 0)
    assert parse_example(last[1])["image"] == [EXAMPLES[2]["image"]]
    assert parse_example(first[1])["label"] == [EXAMPLES[0]["label"]]


def test_finding_and_selecting_records_reads_no_other_payload(shard):
    """Payloads of the others are damaged, and nobody notices."""
    offsets = starts(shard)
    data = bytearray(shard.read_bytes())
    for offset in offsets[:2]:
        data[offset + 12] ^= 1
    shard.write_bytes(data)
    assert record_offsets(shard).tolist() == offsets
    ((_, payload),) = read_records(shard, {2: offsets[2]})
    assert parse_example(payload)["label"] == [2**63 - 1]
    with pytest.raises(CamstudyError, match=f"{shard}, record 1 at byte {offsets[1]}: the CRC of its data"):
        list(read_records(shard, {1: offsets[1]}))


@pytest.mark.parametrize("record", [0, 2])
@pytest.mark.parametrize(
    ("keep", "problem"),
    [
        (5, "header, after 5 of 12"),
        (10, "header, after 10 of 12"),
        (12, "data, after 0 of"),
        (14, "data, after 2 of"),
        (-2, "data, after"),
        (-4, "data, after"),
    ],
    ids=["in length", "in length crc", "before payload", "in payload", "in footer", "before footer"],
)
def test_truncated_shard_names_file_and_record(shard, record, keep, problem):
    edges = [*starts(shard), shard.stat().st_size]
    end = edges[record] + keep if keep > 0 else edges[record + 1] + keep
    shard.write_bytes(shard.read_bytes()[:end])
    place = f"{shard}, record {record} at byte {edges[record]}"
    for read in (lambda: list(read_shard(shard)), lambda: record_offsets(shard)):
        with pytest.raises(CamstudyError, match=f"{place}: the shard ends in its {problem}"):
            read()


@pytest.mark.parametrize(
    ("offset", "problem"),
    [
        (0, "CRC of its length"),
        (8, "CRC of its length"),
        (12, "CRC of its data"),
        (-5, "CRC of its data"),
        (-1, "CRC of its data"),
    ],
    ids=["length", "length crc", "first byte", "last byte", "data crc"],
)
def test_flipped_bit_names_file_and_record(shard, offset, problem):
    begin, end = starts(shard)[1:]
    data = bytearray(shard.read_bytes())
    data[begin + offset if offset >= 0 else end + offset] ^= 0x10
    shard.write_bytes(data)
    records = read_shard(shard)
    assert next(records)[0] == 0
    with pytest.raises(CamstudyError, match=f"{shard}, record 1 at byte {begin}: the {problem}"):
        next(records)


def test_gigantic_length_with_a_valid_crc_is_refused_before_it_is_read(shard):
    length = struct.pack("<Q", 2**62)
    shard.write_bytes(length + struct.pack("<I", masked(length)) + b"payload")
    with pytest.raises(CamstudyError, match=f"record 0 at byte 0: the shard ends in its data, after 7 of {2**62 + 4}"):
        list(read_shard(shard))


def test_files_that_are_no_shards_are_refused(tmp_path):
    empty = tmp_path / "empty.tfrecords"
    empty.touch()
    with pytest.raises(CamstudyError, match=f"{empty}: the shard is empty"):
        list(read_shard(empty))
    with pytest.raises(CamstudyError, match=r"absent\.tfrecords: cannot be read \(No such file"):
        list(read_shard(tmp_path / "absent.tfrecords"))
    with pytest.raises(CamstudyError, match=r"cannot be read \(Is a directory"):
        list(read_shard(tmp_path))
    page = tmp_path / "page.tfrecords"
    page.write_text("<!DOCTYPE html><title>404</title>")
    with pytest.raises(CamstudyError, match="may be no TFRecord file"):
        list(read_shard(page))


def test_a_failing_writer_leaves_nothing_behind_and_keeps_the_old_shard(shard):
    before = shard.read_bytes()

    def broken():
        yield EXAMPLES[0]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write_shard(shard, broken())
    assert shard.read_bytes() == before
    assert list(shard.parent.iterdir()) == [shard]


def test_serialized_example_is_understood_by_protobuf():
    features = {"a": [b"x", b"yy"], "b": [-1, 0, 300, np.int64(5)], "c": [0.5, 1e30], "ü": 3, "none": []}
    message = example_pb2.Example.FromString(serialize_example(features))
    found = {name: values(feature) for name, feature in message.features.feature.items()}
    assert found.pop("c") == pytest.approx([0.5, 1e30])
    assert found == {"a": [b"x", b"yy"], "b": [-1, 0, 300, 5], "ü": [3], "none": []}


def test_random_messages_of_protobuf_are_parsed():
    rng = np.random.default_rng(0)
    for _ in range(50):
        message = example_pb2.Example()
        for name in rng.permutation(["image", "label", "score", "empty"]):
            feature = message.features.feature[name]
            size = int(rng.integers(0, 5))
            if name == "image":
                feature.bytes_list.value.extend(rng.bytes(int(rng.integers(0, 300))) for _ in range(size))
            elif name == "label":
                feature.int64_list.value.extend(rng.integers(-(2**63), 2**63 - 1, size).tolist())
            elif name == "score":
                feature.float_list.value.extend(rng.normal(size=size))
        expected = {name: values(feature) for name, feature in message.features.feature.items()}
        assert parse_example(message.SerializeToString()) == expected


def block(number, content):
    """A length-delimited field with a short content, written by hand."""
    return bytes([number << 3 | 2, len(content)]) + content


def wrap(feature, name=b"label"):
    return block(1, block(1, block(1, name) + block(2, feature)))


def test_unpacked_numbers_unknown_fields_and_any_order_are_parsed():
    minus_two = b"\xfe" + b"\xff" * 8 + b"\x01"
    unpacked = block(3, b"\x08\x05" + b"\x08" + minus_two)
    assert parse_example(wrap(unpacked)) == {"label": [5, -2]}
    floats = block(2, b"\x0d" + struct.pack("<f", 1.5) + b"\x0d" + struct.pack("<f", -2))
    assert parse_example(wrap(floats)) == {"label": [1.5, -2]}
    # Unknown fields of every wire type (varint, 64 bit, bytes, 32 bit) everywhere; the value before its name.
    unknown = b"\x78\x96\x01" + b"\x79" + bytes(8) + block(15, b"??") + b"\x7d" + bytes(4)
    entry = unknown + block(2, unknown + block(3, unknown + block(1, b"\x07"))) + block(1, b"label")
    assert parse_example(unknown + block(1, unknown + block(1, entry))) == {"label": [7]}


def test_repeated_entries_follow_protobuf():
    message = wrap(block(3, b"\x08\x01")) + wrap(block(3, b"\x08\x02")) + wrap(block(1, block(1, b"x")), b"other")
    expected = {name: values(f) for name, f in example_pb2.Example.FromString(message).features.feature.items()}
    assert parse_example(message) == expected == {"label": [2], "other": [b"x"]}


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        b"\x0a\x05abc",
        b"\x0a\xff\xff\xff\xff\x0f",
        b"\xff" * 11,
        b"\x0b",
        b"\x02\x00",
        wrap(block(3, block(1, b"\xff"))),
        wrap(block(2, block(1, b"123"))),
        wrap(block(1, b"\x0a\x09short")),
        wrap(block(3, b"\x08\x05"), b"\xff\xfe"),
    ],
    ids=[
        "no length",
        "short content",
        "gigantic length",
        "endless varint",
        "group",
        "field 0",
        "cut varint",
        "cut float",
        "cut bytes",
        "name not utf-8",
    ],
)
def test_malformed_messages_are_refused_as_protobuf_refuses_them(message):
    with pytest.raises(DecodeError):
        example_pb2.Example.FromString(message)
    with pytest.raises(CamstudyError, match=r"val-0, record 4: not a valid tf\.train\.Example"):
        parse_example(message, "val-0, record 4")
