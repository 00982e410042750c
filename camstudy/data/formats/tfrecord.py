"""TFRecord shards of `tf.train.Example` records, read and written without TensorFlow.

A shard is a sequence of records: uint64 length, uint32 masked CRC-32C of the length, payload, uint32 masked
CRC-32C of the payload, all little-endian (TensorFlow, ``core/lib/io/record_writer.h``). The payload is a
protobuf message (``core/example/{example,feature}.proto``), simple enough to be read without a library.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import BinaryIO

import google_crc32c
import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.files import replacing
from camstudy.core.kinds import after

LENGTH = struct.Struct("<Q")
CRC = struct.Struct("<I")
HEADER = LENGTH.size + CRC.size
CRC_MASK = 0xA282EAD8
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
# Field numbers of Feature's `oneof kind`.
BYTES_LIST, FLOAT_LIST, INT64_LIST = 1, 2, 3

Value = bytes | float | int
Features = Mapping[str, Value | list[bytes] | list[float] | list[int]]


def write_shard(path: str | Path, examples: Iterable[Features]) -> int:
    """Write examples to one shard in one step (readers see no partial file); return the number of records.

    An example maps feature names to bytes, an int, a float, or a list of one of these.
    """
    n = 0
    with replacing(path) as temporary, temporary.open("wb") as file:
        for example in examples:
            payload = serialize_example(example)
            length = LENGTH.pack(len(payload))
            for part in (length, payload):
                file.write(part + CRC.pack(_masked_crc(part)))
            n += 1
    return n


def read_shard(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield ``(index, payload)`` of a shard's records in order, one in memory at a time, both CRCs checked.

    Raises
    ------
    CamstudyError : the file is missing or empty, ends within a record, or a CRC differs; names the file, the
        record and the byte at which it begins. A shard cut exactly between two records looks like a shorter
        shard: compare the number of `record_offsets`.
    """
    with _open(path) as file:
        for index, offset in enumerate(_offsets(file, path)):
            yield index, _payload(file, path, index, offset)


def read_records(path: str | Path, offsets: Mapping[int, int]) -> Iterator[tuple[int, bytes]]:
    """Yield ``(index, payload)`` of some records of a shard: ``offsets`` maps their numbers to `record_offsets`.

    Nothing else of the file is read. Raises `CamstudyError` as `read_shard` does.
    """
    with _open(path) as file:
        for index, offset in offsets.items():
            yield index, _payload(file, path, index, offset)


def record_offsets(path: str | Path) -> np.ndarray:
    """Return the bytes at which a shard's records begin, int64 (n,), by walking over the records' lengths.

    Payloads are neither read nor checked, which makes it the cheap way to count records.
    """
    with _open(path) as file:
        return np.fromiter(_offsets(file, path), np.int64)


def serialize_example(features: Features) -> bytes:
    """Return a `tf.train.Example` message; features are written in the order of the mapping."""
    entries = []
    for name, value in features.items():
        values = value if isinstance(value, list) else [value]
        entries.append(_field(1, _field(1, name.encode()) + _field(2, _serialize_feature(values))))
    return _field(1, b"".join(entries))


def parse_example(payload: bytes, where: str = "example") -> dict[str, list[bytes] | list[float] | list[int]]:
    """Return the features of a `tf.train.Example` message: name -> list of bytes, floats or (signed) ints.

    Follows protobuf: fields and map entries come in any order, unknown fields are skipped, numbers may be
    packed or not, and of two entries with the same name the later one counts.

    Raises
    ------
    CamstudyError : the message is malformed; the text starts with ``where``.
    """
    try:
        features = {}
        for example in _submessages(payload, 1):
            for entry in _submessages(example, 1):
                name, feature = b"", b""
                for number, wire, value in _fields(entry):
                    if wire == BYTES and number == 1:
                        name = value
                    elif wire == BYTES and number == 2:
                        feature = value
                features[name.decode()] = _parse_feature(feature)
        return features
    except _Malformed as error:
        raise CamstudyError(f"{where}: not a valid tf.train.Example message: {error}") from None
    except UnicodeDecodeError:
        raise CamstudyError(f"{where}: not a valid tf.train.Example message: a name is not UTF-8") from None


class _Malformed(Exception):
    """Bytes that are no protobuf message."""


def _masked_crc(data: bytes) -> int:
    # Rotated and shifted, so that data with embedded CRCs has a CRC of its own.
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + CRC_MASK) & 0xFFFFFFFF


def _open(path: str | Path) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise CamstudyError(f"{path}: cannot be read ({error.strerror}); {after(error)}") from None


def _damaged(path: str | Path, index: int, offset: int, problem: str) -> CamstudyError:
    where = f"record {index} at byte {offset}"
    return CamstudyError(f"{path}, {where}: {problem}; delete the shard and fetch it again")


def _offsets(file: BinaryIO, path: str | Path) -> Iterator[int]:
    """Yield where each record begins; the consumer may move in the file."""
    size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise CamstudyError(f"{path}: the shard is empty; delete it and fetch it again")
    index = offset = 0
    while offset < size:
        length = _length(file, path, index, offset)
        yield offset
        offset += HEADER + length + CRC.size
        index += 1


def _length(file: BinaryIO, path: str | Path, index: int, offset: int) -> int:
    """Return the length of a record's payload, to which the file is moved."""
    file.seek(offset)
    header = file.read(HEADER)
    if len(header) < HEADER:
        raise _damaged(path, index, offset, f"the shard ends in its header, after {len(header)} of {HEADER} bytes")
    packed = header[: LENGTH.size]
    if header[LENGTH.size :] != CRC.pack(_masked_crc(packed)):
        hint = ", so this may be no TFRecord file" if index == 0 else ""
        raise _damaged(path, index, offset, f"the CRC of its length is wrong{hint}")
    (length,) = LENGTH.unpack(packed)
    expected = length + CRC.size
    found = os.fstat(file.fileno()).st_size - offset - HEADER
    # Checked before anything is allocated: the length may be nonsense.
    if found < expected:
        raise _damaged(path, index, offset, f"the shard ends in its data, after {found} of {expected} bytes")
    return length


def _payload(file: BinaryIO, path: str | Path, index: int, offset: int) -> bytes:
    payload = file.read(_length(file, path, index, offset))
    if file.read(CRC.size) != CRC.pack(_masked_crc(payload)):
        raise _damaged(path, index, offset, "the CRC of its data is wrong")
    return payload


def _varint(value: Integral) -> bytes:
    value = int(value) & (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _serialize_feature(values: list) -> bytes:
    if all(isinstance(value, bytes) for value in values):
        return _field(BYTES_LIST, b"".join(_field(1, value) for value in values))
    if all(isinstance(value, Integral) for value in values):
        return _field(INT64_LIST, _field(1, b"".join(map(_varint, values))))
    return _field(FLOAT_LIST, _field(1, struct.pack(f"<{len(values)}f", *values)))


def _parse_feature(message: bytes) -> list:
    """Return the values of a Feature; of several kinds the last counts, repeats of one kind are joined."""
    kind, values = None, []
    for number, wire, content in _fields(message):
        if wire == BYTES and number in (BYTES_LIST, FLOAT_LIST, INT64_LIST):
            values = values if number == kind else []
            kind = number
            values += _parse_list(kind, content)
    return values


def _parse_list(kind: int, message: bytes) -> list:
    values = []
    for number, wire, content in _fields(message):
        if number != 1:
            continue
        if kind == BYTES_LIST and wire == BYTES:
            values.append(content)
        elif kind == FLOAT_LIST and wire in (BYTES, FIXED32):
            if len(content) % 4:
                raise _Malformed(f"packed floats take {len(content)} bytes, no multiple of 4")
            values += struct.unpack(f"<{len(content) // 4}f", content)
        elif kind == INT64_LIST and wire == VARINT:
            values.append(_signed(content))
        elif kind == INT64_LIST and wire == BYTES:
            position = 0
            while position < len(content):
                value, position = _read_varint(content, position)
                values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _submessages(message: bytes, wanted: int) -> Iterator[bytes]:
    return (value for number, wire, value in _fields(message) if number == wanted and wire == BYTES)


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    """Yield ``(field number, wire type, value)``: an int for varints, the raw bytes for all others."""
    position = 0
    while position < len(message):
        tag, position = _read_varint(message, position)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            value, position = _read_varint(message, position)
            yield number, wire, value
            continue
        if wire == BYTES:
            length, position = _read_varint(message, position)
        elif wire in (FIXED32, FIXED64):
            length = 4 if wire == FIXED32 else 8
        else:
            raise _Malformed(f"wire type {wire} at byte {position}")
        if number == 0 or position + length > len(message):
            left = len(message) - position
            raise _Malformed(f"field {number} at byte {position} claims {length} bytes of {left}")
        yield number, wire, message[position : position + length]
        position += length


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position == len(message):
            raise _Malformed("it ends within a number")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position
    raise _Malformed(f"a number of more than ten bytes before byte {position}")
