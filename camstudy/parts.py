"""Parts of a dataset: slow steps are divided among jobs by ranges of images, named `3-of-20`.

Every part is a file or store of its own, and readers open the parts as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from camstudy.errors import CamstudyError

if TYPE_CHECKING:
    import pandas as pd


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


def read_tables(keys: Iterable[Sequence[str]], paths: Iterable[str]) -> dict[tuple[str, ...], pd.DataFrame]:
    """Return the Parquet tables of each key, all its parts in one; see `by_key`."""
    import pandas as pd

    return {key: pd.concat(map(pd.read_parquet, parts)) for key, parts in by_key(keys, paths).items()}
