"""The content of results as few numbers, which fit into the repository and tell whether something changed."""

import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.numpy
import zarr

from tests.golden.numbers import noise

Values = dict[str, np.ndarray]
SIZE = 32
# What another machine or minute changes, and what is repeated from the configuration.
VOLATILE = re.compile("second|memory|ratio|repeats|warm_up|bytes|time|version|entry|start|pid")
EXACT = 1e-9


def sketch(values: object, size: int = SIZE) -> np.ndarray:
    """Return at most ``size`` numbers, float64: the values themselves, or sums of many, each with a weight of its own.

    Text becomes a checksum. Missing values count as a number that does not occur.
    """
    array = np.asarray(values)
    if array.dtype.kind in "OUST":
        text = "\n".join(map(str, array.ravel().tolist()))
        return np.array([zlib.crc32(text.encode())], np.float64)
    flat = np.nan_to_num(array.astype(np.float64).ravel(), nan=-54321.0, posinf=65432.0, neginf=-65432.0)
    if flat.size <= size:
        return flat
    rows = np.pad(flat, (0, -flat.size % size)).reshape(size, -1)
    return (rows * noise(*rows.shape)).sum(1)


def named(name: str, values: object) -> tuple[str, np.ndarray]:
    """Return name and sketch of values; the name tells their shape, and whether they must be equal to all digits."""
    array = np.asarray(values)
    kind = "number" if array.dtype.kind == "f" else "exact"
    return f"{name} {kind} {'x'.join(map(str, array.shape)) or 'one'}", sketch(array)


def read(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what is in a result by name: tables, stores, weights, numbers of records; nothing of pictures and text."""
    if path.suffix in (".parquet", ".csv"):
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        for name, column in frame.items():
            if not VOLATILE.search(str(name)):
                yield str(name), _plain(column)
    elif path.suffix == ".safetensors":
        tensors = safetensors.numpy.load_file(path)
        yield "names", [f"{name} {tensor.shape}" for name, tensor in tensors.items()]
        yield "tensors", np.concatenate([sketch(tensor, 4) for tensor in tensors.values()])
    elif path.suffix in (".tfrecord", ".tfrecords"):
        yield "bytes", np.frombuffer(path.read_bytes(), np.uint8)
    elif path.suffix == ".tgz":
        # Its bytes have times, too.
        with tarfile.open(path) as archive:
            yield "members", [f"{member.name} {member.size}" for member in archive]
    elif path.suffix == ".json":
        yield from _numbers("", json.loads(path.read_text()))
        store = path.with_suffix(".zarr")
        if store.exists():
            group = zarr.open_group(store, mode="r")
            yield from ((name, array[...]) for name, array in sorted(group.arrays()))


def _plain(column: pd.Series) -> np.ndarray:
    if column.dtype == "boolean":
        return column.astype("Float64").to_numpy(np.float64, na_value=np.nan)
    values = column.to_numpy()
    if values.dtype == object and len(values) and any(isinstance(value, np.ndarray) for value in values):
        return np.concatenate([np.atleast_1d(value).astype(np.float64) for value in values if value is not None])
    return values


def _numbers(name: str, value: object) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            if not VOLATILE.search(key):
                yield from _numbers(f"{name}.{key}", part)
    elif isinstance(value, bool | int | float):
        yield name, np.asarray(value)


def differences(old: Mapping[str, np.ndarray], new: Mapping[str, np.ndarray], tolerance: float) -> list[str]:
    """Return the names of what differs: values by more than ``tolerance`` times the largest of their kind."""
    found = sorted(old.keys() ^ new.keys())
    for name in sorted(old.keys() & new.keys()):
        bound = (EXACT if " exact " in name else tolerance) * max(np.abs(old[name]).max(initial=0), 1e-12)
        if not np.allclose(old[name], new[name], rtol=0, atol=bound):
            found.append(name)
    return found
