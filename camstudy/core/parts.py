"""Parts of a dataset: slow steps are divided among jobs by fixed ranges of images, named `00000-01023`.

Every part is a file or store of its own, and readers open the parts as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import verify, write_record

if TYPE_CHECKING:
    import pandas as pd

PART = 1024  # images


class Named(Protocol):
    """A dataset, as far as its scores are concerned: `camstudy.data.dataset.Dataset`."""

    n: int

    def names(self, part: slice | Sequence[int]) -> Sequence[str]:
        """Return the names of a part of its images."""


def part_names(n: int, *, divided: bool = True) -> list[str]:
    """Return what the paths of a dataset's parts end in: `/00000-01023`, `/01024-02047`, ...; nothing for one part.

    Parts are fixed ranges of images, so that no estimate, chunk or device decides where a result lies.

    >>> part_names(2000)
    ['/00000-01023', '/01024-01999']
    >>> part_names(2000, divided=False), part_names(1024)
    ([''], [''])
    """
    if not divided or n <= PART:
        return [""]
    return [f"/{start:05d}-{min(start + PART, n) - 1:05d}" for start in range(0, n, PART)]


def part_slice(name: str, n: int) -> slice:
    """Return the images of a part among the ``n`` of a dataset.

    Raises `CamstudyError` where the dataset has another number of images than was planned for.

    >>> part_slice("/01024-01999", 2000), part_slice("", 2000)
    (slice(1024, 2000, None), slice(0, 2000, None))
    """
    if not name:
        return slice(0, n)
    found = re.fullmatch(r"/(\d+)-(\d+)", name)
    assert found  # one of `part_names`
    first, last = map(int, found.groups())
    if last >= n or last != min(first + PART, n) - 1:
        raise CamstudyError(
            f"images {first} to {last} were asked for, but the dataset has {n}, which was not known before it was "
            "prepared; start Snakemake again"
        )
    return slice(first, last + 1)


def by_key(keys: Iterable[Sequence[str]], files: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Return the files of each key, given one key per file: those of a key's parts, in their order."""
    found: dict[tuple[str, ...], list[str]] = {}
    for key, file in zip(keys, files, strict=True):
        found.setdefault(tuple(key), []).append(file)
    return found


def write_scores(path: str | Path, frame: pd.DataFrame, dataset: Named, images: slice | Sequence[int]) -> None:
    """Write scores of images to a Parquet file that says which images it holds, so that readers can tell that all are.

    Parameters
    ----------
    path : the Parquet file
    frame : a column `image`, positions in the dataset, and others; for each image equally many rows
    dataset : where the images are; their names become the column `name`
    images : the images that there are scores of: a range of the dataset's images, or positions of a sample of them
    """
    positions = np.arange(dataset.n)[images]
    names = dict(zip(positions.tolist(), dataset.names(images), strict=True))
    frame = frame.copy(deep=False)
    frame.insert(frame.columns.get_loc("image") + 1, "name", frame["image"].map(names).astype("str"))
    rows, rest = divmod(len(frame), len(positions))
    if rest or not np.array_equal(np.sort(frame["image"]), np.repeat(np.sort(positions), rows)):
        raise ValueError(f"{path}: {len(frame)} rows are not equally many for each of {len(positions)} images")
    where = {"first": images.start, "stop": images.stop} if isinstance(images, slice) else {"sample": len(positions)}
    frame.attrs = {"images": {**where, "of": dataset.n, "rows": rows}}
    frame.to_parquet(path, index=False)


def read_scores(paths: Iterable[str | Path]) -> pd.DataFrame:
    """Return the scores of all parts as one table, after checking that every image of the dataset is there once.

    Once, or in as many rows as an image has; of a sample of the images, each of the sample. Raises `CamstudyError` with
    the file and the images that are missing or too many.
    """
    import pandas as pd

    parts = sorted(map(_read_part, paths), key=lambda part: part.first)
    end, of = 0, parts[0].of
    for part in parts:
        found = f"{part.path}: holds images {part.first} to {part.stop - 1} of {part.of}"
        if part.of != of:
            raise CamstudyError(f"{found}, those before it are of {of}; {_ANEW}")
        if part.first > end:
            raise CamstudyError(f"{found}, but images {end} to {part.first - 1} are in none of the parts; {_ANEW}")
        if part.first < end:
            raise CamstudyError(f"{found}, but images {part.first} to {end - 1} are in other parts, too; {_ANEW}")
        end = part.stop
    if end != of:
        raise CamstudyError(f"{found}, but images {end} to {of - 1} are in none of the parts; {_ANEW}")
    return pd.concat([part.frame for part in parts], ignore_index=True)


_ANEW = "delete the file and those beside it and rerun"


class _Part(NamedTuple):
    """The scores of a file and the images that it is to hold: ``first`` to ``stop``, of ``of`` in all its parts."""

    path: str | Path
    first: int
    stop: int
    of: int
    frame: pd.DataFrame


def _read_part(path: str | Path) -> _Part:
    """Read a file of scores and check it against what it says that it holds."""
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise CamstudyError(f"{path}: no such file; run the rule that makes it") from None
    try:
        stated = frame.attrs.pop("images")
    except KeyError:
        raise CamstudyError(f"{path}: does not say which images it holds; delete it and score again") from None
    found, rows = np.unique(frame["image"], return_counts=True)
    if "sample" in stated:
        first, stop, expected = 0, stated["of"], found
        if len(found) != stated["sample"]:
            raise CamstudyError(f"{path}: holds {len(found)} of {stated['sample']} images; delete it and score again")
    else:
        first, stop = stated["first"], stated["stop"]
        expected = np.arange(first, stop)
    for what, which in (
        ("lacks", np.setdiff1d(expected, found)),
        ("is not to hold", np.setdiff1d(found, expected)),
        (f"has not {stated['rows']} rows of", found[rows != stated["rows"]]),
    ):
        if len(which):
            last = which[np.diff(which, append=np.inf) > 1][0]
            raise CamstudyError(f"{path}: {what} images {which[0]} to {last}; delete it and score again")
    return _Part(path, first, stop, stated["of"], frame)


def read_records(records: Iterable[str | Path], kind: str = "") -> pd.DataFrame:
    """Return the scores that lie beside the records of all parts, or with a kind those in `{record}.{kind}.parquet`.

    Raises `Damaged` for a file that is not the one that its record describes.
    """
    ending = f".{kind}.parquet" if kind else ".parquet"
    return read_scores(verify(Path(record).with_suffix(ending), record) for record in records)


def write_table(path: str | Path, frame: pd.DataFrame, identity: str) -> None:
    """Write a table that a study keeps as a Parquet file, and its record beside it: ``x.parquet``, ``x.json``."""
    frame.to_parquet(path, index=False)
    write_record(Path(path).with_suffix(".json"), identity, path)


def read_table(path: str | Path) -> pd.DataFrame:
    """Return a table that `write_table` wrote; `Damaged` if it is not that any more."""
    import pandas as pd

    record = Path(path).with_suffix(".json")
    # An earlier version wrote none.
    return pd.read_parquet(verify(path, record) if record.is_file() else path)


def read_tables(
    keys: Iterable[Sequence[str]], records: Iterable[str], kind: str = ""
) -> dict[tuple[str, ...], pd.DataFrame]:
    """Return the scores of each key, all its parts in one table, as `read_records` reads them; see `by_key`."""
    return {key: read_records(parts, kind) for key, parts in by_key(keys, records).items()}
