"""Parts of a dataset: slow steps are divided among jobs by ranges of images, named `3-of-20`.

Every part is a file or store of its own, and readers open the parts as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from camstudy.errors import CamstudyError

if TYPE_CHECKING:
    import pandas as pd

    from camstudy.data.store import Dataset


def part_names(count: int) -> list[str]:
    """Return what the parts' paths end in: nothing for one part, else `/01-of-20`, `/02-of-20`, ..."""
    if count == 1:
        return [""]
    return [f"/{number:0{len(str(count))}d}-of-{count}" for number in range(1, count + 1)]


def part_slice(name: str, n: int, chunk: int) -> slice:
    """Return the images of a part, a whole number of chunks of ``chunk`` images among ``n``, the last maybe shorter.

    Parts differ by one chunk at most. Raises `CamstudyError` where there are more parts than chunks.

    >>> [part_slice(name, 22, 8) for name in part_names(2)]
    [slice(0, 8, None), slice(8, 22, None)]
    """
    if not name:
        return slice(0, n)
    number, count = map(int, re.fullmatch(r"/(\d+)-of-(\d+)", name).groups())
    chunks = -(-n // chunk)
    if count > chunks:
        raise CamstudyError(
            f"{n} images in chunks of {chunk} cannot be divided into {count} parts; set the method's `parts` to at "
            f"most {chunks}, or lower explain.chunk_size"
        )
    return slice((number - 1) * chunks // count * chunk, min(number * chunks // count * chunk, n))


def by_key(keys: Iterable[Sequence[str]], files: Iterable[str]) -> dict[tuple[str, ...], list[str]]:
    """Return the files of each key, given one key per file: those of a key's parts, in their order."""
    found: dict[tuple[str, ...], list[str]] = {}
    for key, file in zip(keys, files, strict=True):
        found.setdefault(tuple(key), []).append(file)
    return found


def write_scores(path: str | Path, frame: pd.DataFrame, dataset: Dataset, images: slice | Sequence[int]) -> None:
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

    frame = pd.read_parquet(path)
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


def read_tables(keys: Iterable[Sequence[str]], paths: Iterable[str]) -> dict[tuple[str, ...], pd.DataFrame]:
    """Return the scores of each key, all its parts in one table, as `read_scores` checks them; see `by_key`."""
    return {key: read_scores(parts) for key, parts in by_key(keys, paths).items()}
