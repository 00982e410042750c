"""Disks that are full or may not be written: found before any job, and told in a sentence where a job meets them."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from camstudy.core.errors import CamstudyError

FULL, READ_ONLY, FORBIDDEN = (errno.ENOSPC, errno.EDQUOT), (errno.EROFS,), (errno.EACCES, errno.EPERM)
MISPLACED = (errno.EEXIST, errno.ENOTDIR)
# Libraries that write files themselves have the system's words in errors of their own.
WORDS = {os.strerror(number): number for number in (*FULL, *READ_ONLY)}
# Bytes without which no run gets far: Snakemake's notes and logs alone take as much.
LEAST = 5_000_000
PLACES = ("results", ".snakemake")


def disk_mistake(error: BaseException) -> str | None:
    """Return what to tell a user of an error that a disk made; None for any other.

    What the error came from counts: a library may have raised one of its own.
    """
    cause: BaseException | None = error
    while cause is not None:
        number = getattr(cause, "errno", None) or next((WORDS[text] for text in WORDS if text in str(cause)), None)
        name = getattr(cause, "filename", None)
        if number in FULL:
            return f"{name or 'results'}: no space is left on its disk ({_free(name)}); {_make_room()}"
        if number in READ_ONLY:
            return f"{name or 'results'}: lies on a disk that is mounted read-only; work where you may write"
        if number == errno.ELOOP and name:
            return f"{name}: leads through a link to itself; remove that link, and what is missing is made anew"
        if number == errno.EIO:
            return f"{name or 'results'}: its disk, or the way to it, fails (Input/output error); see to the disk"
        if number in FORBIDDEN and name:
            return f"{name}: may not be read or written; check its permissions (`ls -ld {name}`), or work elsewhere"
        if number in MISPLACED and name and (text := _in_the_way(name)):
            return text
        cause = cause.__cause__ or cause.__context__
    return None


@contextmanager
def told() -> Iterator[None]:
    """Turn the errors of disks into `CamstudyError`, which says what to do."""
    try:
        yield
    except OSError as error:
        if text := disk_mistake(error):
            raise CamstudyError(text) from None
        raise


def check_room() -> None:
    """Raise `CamstudyError` where results cannot be written in the working directory, or only a few more bytes."""
    for place in map(Path, PLACES):
        with told():
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                pass
        if shutil.disk_usage(place).free < LEAST:
            raise CamstudyError(f"{place}: hardly any space is left on its disk ({_free(place)}); {_make_room()}")


def check_folders(files: Iterable[str | Path]) -> None:
    """Raise `CamstudyError` where something else lies in the place of a folder that is to hold one of the files."""
    for folder in {folder for file in files for folder in Path(file).parents}:
        if text := _in_the_way(folder):
            raise CamstudyError(text)


def amount(size: float) -> str:
    """Return a number of bytes as text.

    >>> amount(999), amount(25_300_000)
    ('999 B', '25.3 MB')
    """
    units = ("B", "kB", "MB", "GB", "TB")
    power = next((power for power in range(len(units)) if size < 1000 ** (power + 1)), len(units) - 1)
    return f"{size / 1000**power:.{1 if power else 0}f} {units[power]}"


def _in_the_way(name: str | Path) -> str | None:
    """Return what to tell of the first of a path's parts that is no folder, nor leads to one; None where there is none.

    What is not there yet is none.
    """
    path = Path(name)
    for place in [*reversed(path.parents), path]:
        if place.is_symlink() and not place.exists():  # to a disk that is not mounted, say
            return f"{place}: a link to {place.readlink()}, which is not there; mount or make that, or remove the link"
        if place.exists() and not place.is_dir():
            return f"{place}: is a file, and a folder is to be there; move it away, or work elsewhere"
    return None


def _free(name: str | Path | None) -> str:
    """Say how much room the disk of a file has, which need not be there, and that of temporary files."""
    place = Path(name or "results").absolute()
    while not place.exists():
        place = place.parent
    places = {str(place): place, "temporary files": Path(tempfile.gettempdir())}
    return ", ".join(f"{amount(shutil.disk_usage(path).free)} free for {what}" for what, path in places.items())


def _make_room() -> str:
    return "make room (`camstudy results` says what takes how much) and start again: it goes on where it stopped"
