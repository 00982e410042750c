"""Read the files of a folder, a tar or a zip archive by name, in place: nothing is ever extracted."""

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import scipy.io
from scipy.io.matlab import MatReadError

from camstudy.errors import CamstudyError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


class Files:
    """The files below a folder or in an archive: ``sizes`` maps their names, with slashes, to bytes."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            if self.path.is_dir():
                found = (file for file in self.path.rglob("*") if file.is_file())
                self.sizes = {file.relative_to(self.path).as_posix(): file.stat().st_size for file in found}
            elif zipfile.is_zipfile(self.path):
                self._zip = zipfile.ZipFile(self.path)
                self.sizes = {entry.filename: entry.file_size for entry in self._zip.infolist() if not entry.is_dir()}
            else:
                self._tar = tarfile.open(self.path)  # noqa: SIM115 - open as long as this object is
                self._members = {member.name.removeprefix("./"): member for member in self._tar if member.isfile()}
                self.sizes = {name: member.size for name, member in self._members.items()}
        except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
            raise CamstudyError(f"{path}: cannot be read as a folder, tar or zip archive ({error})") from None

    def read(self, name: str) -> bytes:
        """Return the content of a file; `CamstudyError` if it is none of ``sizes`` or cannot be read whole."""
        # Lists in data sets name files, too: nothing but what is here may be read by them.
        if name not in self.sizes:
            raise CamstudyError(f"{self.path}: has no {name!r}; fetch it again")
        try:
            if hasattr(self, "_zip"):
                content = self._zip.read(name)
            elif hasattr(self, "_tar"):
                content = self._tar.extractfile(self._members[name]).read()
            else:
                content = (self.path / name).read_bytes()
        except (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
            raise CamstudyError(f"{self.path}, {name}: cannot be read ({error}); fetch it again") from None
        if len(content) != self.sizes[name]:
            raise CamstudyError(f"{self.path}, {name}: has {len(content)} of {self.sizes[name]} bytes; fetch it again")
        return content

    def read_all(self, names: Sequence[str]) -> list[bytes]:
        """Return the contents of files, each read once and in the order of the archive.

        To go back in a compressed one is to begin it again.
        """
        unique = list(dict.fromkeys(names))
        if hasattr(self, "_tar"):
            unique.sort(key=lambda name: self._members[name].offset)
        contents = {name: self.read(name) for name in unique}
        return [contents[name] for name in names]

    def read_matlab(self, name: str, *variables: str) -> dict:
        """Return variables of a MATLAB file, dimensions of length 1 removed; `CamstudyError` if one is not there."""
        try:
            content = scipy.io.loadmat(io.BytesIO(self.read(name)), squeeze_me=True)
            return {variable: content[variable] for variable in variables}
        except (MatReadError, ValueError, LookupError, TypeError, NotImplementedError, OSError, zlib.error) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CamstudyError(
                f"{self.path}, {name}: not a MATLAB file with {' and '.join(variables)} ({reason}); fetch it again"
            ) from None

    def above(self, ending: str) -> str | None:
        """Return what comes before ``ending``, the end of a path, in the first name with it; None without one.

        It is empty or ends with a slash.
        """
        names = (name for name in sorted(self.sizes) if f"/{name}".endswith(f"/{ending}"))
        return next((name.removesuffix(ending) for name in names), None)

    def endswith(self, *endings: str) -> Iterator[str]:
        """Yield the names with one of these endings, whatever their case, in alphabetical order."""
        return (name for name in sorted(self.sizes) if name.lower().endswith(endings))


def find(root: str | Path, name: str) -> Files | None:
    """Return what a distributor calls ``name`` below ``root``, as a folder or an archive; None if it is not there."""
    for candidate in (Path(root, name), *(Path(root, name + ending) for ending in ARCHIVES)):
        if candidate.exists():
            return Files(candidate)
    return None
