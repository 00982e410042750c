"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009, "Learning multiple layers of features from tiny images"), binary version.

A file is a sequence of records: the labels, a byte each, then 1024 red, 1024 green and 1024 blue values, those of 32x32
pixels row by row. Nothing in it is executed, unlike the version for Python, which is pickled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camstudy.core.errors import CamstudyError, MissingFiles
from camstudy.data.formats.files import Files, find

SIDE = 32
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class Version:
    """What the distributors publish: archive and folder, files of each split, the labels of a record, and their names.

    ``labels`` are the numbers of classes that each byte before the pixels tells apart, the last of which counts.
    """

    places: tuple[str, ...]
    splits: Mapping[str, tuple[str, ...]]
    labels: tuple[int, ...]
    names: str
    python: tuple[str, ...]

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return len(self.labels) + PIXELS


VERSIONS = {
    "cifar10": Version(
        places=("cifar-10-binary", "cifar-10-batches-bin"),
        splits={"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
        labels=(10,),
        names="batches.meta.txt",
        python=("cifar-10-python", "cifar-10-batches-py"),
    ),
    # The coarse label comes first.
    "cifar100": Version(
        places=("cifar-100-binary",),
        splits={"train": ("train.bin",), "test": ("test.bin",)},
        labels=(20, 100),
        names="fine_label_names.txt",
        python=("cifar-100-python",),
    ),
}


@dataclass(frozen=True)
class Records:
    """The files of a split and the number of records in each, in order; the names of the classes by label."""

    files: Files
    counts: dict[str, int]
    classes: list[str]


def list_cifar(root: str | Path, version: str, split: str) -> Records:
    """Return what is in the files of a split (``train`` or ``test``), by their lengths.

    Raises
    ------
    MissingFiles : there is neither archive nor folder
    CamstudyError : a file is missing, is cut off within a record or has other ones; names of classes are not as many as
        there are; or the version is the one for Python
    """
    known = VERSIONS[version]
    files = _open(root, known)
    first = known.splits[split][0]
    above = files.above(first)
    if above is None:
        # Of its files, the names have no ending.
        python = files.above(first.removesuffix(".bin")) is not None
        what = f"the version for Python, which has no {first}" if python else f"no {first}"
        raise CamstudyError(f"{files.path}: has {what}; fetch the binary version, {known.places[0]}.tar.gz")
    counts = {}
    for name in (above + file for file in known.splits[split]):
        if name not in files.sizes:
            raise CamstudyError(f"{files.path}: has no {name}; fetch it again")
        counts[name], left = divmod(files.sizes[name], known.record)
        if left or not counts[name]:
            raise CamstudyError(
                f"{files.path}, {name}, record {counts[name]}: has {left} of {known.record} bytes. The file is cut "
                f"off, or of another version; fetch it again ({known.places[0]}.tar.gz)"
            )
    classes = files.read(above + known.names).decode(errors="replace").split()
    if len(classes) != known.labels[-1]:
        where, expected = f"{files.path}, {above}{known.names}", known.labels[-1]
        raise CamstudyError(f"{where}: has {len(classes)} names, expected {expected}; fetch it again")
    return Records(files, counts, classes)


def read_cifar(root: str | Path, version: str, split: str) -> tuple[Records, np.ndarray, np.ndarray]:
    """Return the files of a split with its images, uint8 (n, 32, 32, 3), and labels, int64 (n,); of CIFAR-100 the fine.

    Raises `CamstudyError` as `list_cifar` does, and for a label that is none, with its file and record.
    """
    known, found = VERSIONS[version], list_cifar(root, version, split)
    images, labels = [], []
    for name, content in zip(found.counts, found.files.read_all([*found.counts]), strict=True):
        table = np.frombuffer(content, np.uint8).reshape(-1, known.record)
        for position, count in enumerate(known.labels):
            wrong = np.flatnonzero(table[:, position] >= count)
            if len(wrong):
                raise CamstudyError(
                    f"{found.files.path}, {name}, record {wrong[0]}: has label {table[wrong[0], position]}, expected 0 "
                    f"to {count - 1}. The file is damaged, or of another version; fetch it again"
                )
        images.append(table[:, len(known.labels) :].reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1))
        labels.append(table[:, len(known.labels) - 1].astype(np.int64))
    return found, np.concatenate(images), np.concatenate(labels)


def _open(root: str | Path, known: Version) -> Files:
    for place in known.places:
        if (files := find(root, place)) is not None:
            return files
    for place in known.python:
        if (files := find(root, place)) is not None:
            raise CamstudyError(
                f"{files.path}: is the version for Python, which is pickled; fetch the binary version, "
                f"{known.places[0]}.tar.gz"
            )
    raise MissingFiles(f"{root}: has no {' and no '.join(known.places)}")
