"""The files of a chunked store: which are missing, which are not what was written, and reading that notices it."""

import errno
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import zarr
from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from camstudy.core.errors import CamstudyError, Damaged
from camstudy.core.files import remove
from camstudy.core.provenance import read_json, sha256_file, write_json

# What zarr raises for a chunk that was cut off, overwritten or exchanged.
# And the system, where no file stands in its place.
NO_FILE = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)
DAMAGE = (RuntimeError, ValueError, MemoryError, *NO_FILE)
DESCRIPTION = "zarr.json"
# In the folder of what readers do not see: sha256 by file.
_SUMS = Path("progress", "files.json")

Part = slice | Sequence[int] | np.ndarray
Sums = Mapping[str, str]


def key(array: zarr.Array, number: int) -> str:
    """Return the file name of a chunk: arrays are divided along their first dimension only."""
    return f"c.{number}" + ".0" * (array.ndim - 1)


def lost_chunks(path: Path, name: str, array: zarr.Array) -> list[int]:
    """Return the numbers of an array's chunks that are not there."""
    with os.scandir(path / name) as entries:
        found = {entry.name for entry in entries if _is_file(entry)}
    return [number for number in range(array.nchunks) if key(array, number) not in found]


def _is_file(entry: os.DirEntry) -> bool:
    # As a rule known from the listing; a link that leads nowhere is no chunk.
    return entry.is_file(follow_symlinks=False) or (entry.is_symlink() and Path(entry).is_file())


def unsound_chunks(path: Path, name: str, array: zarr.Array, sums: Sums) -> list[int]:
    """Return the numbers of an array's chunks that are missing, or are not what was written; all are read for it.

    Without ``sums``, those of a finished store, a chunk is taken for what was written if its own checksum is right.
    """
    found = lost_chunks(path, name, array)
    for number in sorted({*range(array.nchunks)} - {*found}):
        file = f"{name}/{key(array, number)}"
        sound = sha256_file(path / file) == sums.get(file) if sums else _is_readable(array, number)
        if not sound:
            found.append(number)
    return sorted(found)


def discard(path: Path, name: str, array: zarr.Array, numbers: Iterable[int]) -> None:
    """Remove what stands in the place of some chunks, if anything does: it need not be a file."""
    for number in numbers:
        remove(path / name / key(array, number))


def remove_leftovers(path: Path, name: str) -> None:
    """Remove what a killed writer left in an array's folder beside its chunks."""
    for file in (path / name).glob("*.partial"):
        file.unlink(missing_ok=True)


def write_sums(path: Path, arrays: Mapping[str, zarr.Array]) -> str:
    """Write the checksum of every file that a store's readers read into the store; return its kind."""
    names = [f"{name}/{key(array, number)}" for name, array in arrays.items() for number in range(array.nchunks)]
    names += [DESCRIPTION, *(f"{name}/{DESCRIPTION}" for name in arrays)]
    sums = {name: sha256_file(path / name) for name in names}
    write_json(path / _SUMS, {"sha256": sums})
    return "sha256"


def read_sums(path: Path, kind: str | None, manifest: Path) -> Sums:
    """Return the sha256 of each file of a finished store, none for one that an earlier version wrote.

    ``kind`` is what the manifest says of them, None if nothing. The sums themselves stand in the store alone: the
    manifest is the same if maps are made once more and differ by rounding. Raises `Damaged` if they are not there.
    """
    if kind is None:
        return {}
    try:
        return _sums(path, kind)
    except (CamstudyError, KeyError, TypeError):
        raise Damaged(f"{path / _SUMS}: the list of the store's files is gone or damaged", manifest) from None


def kept_sums(path: Path) -> Sums:
    """Return the sha256 of each file of a store that was once finished; none of one that was not, or is damaged."""
    try:
        return _sums(path, "sha256")
    except (CamstudyError, KeyError, TypeError):
        return {}


def _sums(path: Path, kind: str) -> Sums:
    found = read_json(path / _SUMS)[kind]
    if not isinstance(found, Mapping) or not found:
        raise TypeError(kind)
    return found


def forget_sums(path: Path) -> None:
    """Remove the checksums of a store that is to be changed."""
    remove(path / _SUMS)


class Linked(LocalStore):
    """A store in a folder, in which a link to itself is no file, as every other link to nothing."""

    def get_sync(self, key: str, **options: object) -> Buffer | None:
        """Return the content of a file, None where there is none; see `zarr.storage.LocalStore`."""
        try:
            return super().get_sync(key, **options)
        except OSError as error:
            return _none_of_loops(error)

    async def get(self, key: str, *options: object, **named: object) -> Buffer | None:
        """Return the content of a file, None where there is none; see `zarr.storage.LocalStore`."""
        try:
            return await super().get(key, *options, **named)
        except OSError as error:
            return _none_of_loops(error)


def _none_of_loops(error: OSError) -> None:
    if error.errno != errno.ELOOP:
        raise error


class Verified(Linked):
    """A store for reading in which a file that is not what was written is `Damaged` as soon as it is read."""

    def __init__(self, path: Path, sums: Sums, manifest: Path) -> None:
        super().__init__(path, read_only=True)
        self._sums, self._manifest = sums, manifest

    def get_sync(self, key: str, **options: object) -> Buffer | None:
        """Return the content of a file, None where there is none; see `zarr.storage.LocalStore`."""
        return self._checked(key, super().get_sync(key, **options))

    async def get(self, key: str, *options: object, **named: object) -> Buffer | None:
        """Return the content of a file, None where there is none; see `zarr.storage.LocalStore`."""
        return self._checked(key, await super().get(key, *options, **named))

    def _checked(self, name: str, content: Buffer | None) -> Buffer | None:
        expected, file = self._sums.get(name), self.root / name
        if expected is None:
            # The writer's own changes as it writes, and an earlier version listed nothing.
            if content is None or not self._sums or name.startswith(f"{_SUMS.parts[0]}/"):
                return content
            raise Damaged(f"{self.root}: {_called(name)} is not in the list of the store's files", self._manifest, file)
        if content is None:
            raise Damaged(f"{self.root}: lacks {_called(name)}", self._manifest)
        if hashlib.sha256(content.as_numpy_array()).hexdigest() != expected:
            raise Damaged(f"{self.root}: {_called(name)} is damaged", self._manifest, file)
        return content


def check_complete(manifest: Path, path: Path, name: str, array: zarr.Array) -> None:
    """Raise `Damaged` if a chunk of an array is missing."""
    if lost := lost_chunks(path, name, array):
        others = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise Damaged(f"{path}: lacks {_called(f'{name}/{key(array, lost[0])}')}{others}", manifest)


@contextmanager
def naming_damage(path: Path, name: str, array: zarr.Array, part: Part) -> Iterator[None]:
    """Turn what zarr raises for a damaged chunk into an error that names store, array and chunk."""
    try:
        yield
    except DAMAGE as error:
        size = array.chunks[0]
        for number in np.unique(np.arange(array.shape[0])[part] // size).tolist():
            if not _is_readable(array, number):
                file = f"{name}/{key(array, number)}"
                found = f"{path}: {_called(file)} is damaged ({error})"
                raise Damaged(found, path.with_suffix(".json"), path / file) from None
        raise


def _is_readable(array: zarr.Array, number: int) -> bool:
    size = array.chunks[0]
    try:
        array[number * size : (number + 1) * size]
    except DAMAGE:
        return False
    return True


def _called(file: str) -> str:
    """Return a file of a store in words."""
    folder, _, name = file.rpartition("/")
    if name == DESCRIPTION:
        return f"the description of array `{folder}`" if folder else "the description of the store"
    return f"chunk {name} of array `{folder}`"
