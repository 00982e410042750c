"""Read the files of a folder, a tar or a zip archive by name, in place: nothing is ever extracted.

What is read below a dataset's root is noted, so that a change of it is noticed later.
"""

import hashlib
import io
import lzma
import shutil
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from camstudy.core import ledger
from camstudy.core.errors import CamstudyError
from camstudy.core.files import remove
from camstudy.core.kinds import after, kind
from camstudy.core.provenance import sha256_file
from camstudy.core.store import store_path

# What systems and programs leave in archives and folders.
LEFTOVERS = {"__macosx", ".ds_store", ".svn", "lost+found", ".ipynb_checkpoints", "thumbs.db", "desktop.ini", "@eadir"}
# What the libraries raise for archives that are cut off or damaged, or compressed or locked as they cannot read.
DAMAGE = (OSError, tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, ValueError)
DAMAGE += (LookupError, struct.error, OverflowError)
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")
IMAGES = (".jpeg", ".jpg", ".png", ".jpe", ".jfif")
# Taken for images where folders are the classes, to be named as what they are rather than passed over.
OTHERS = (".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl")


class _Entry(tarfile.TarInfo):
    """An entry of a tar archive; where none can be read, it says so: `tarfile` takes that for the archive's end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            if archive.offset == 0:
                raise
            ends = isinstance(error, tarfile.EmptyHeaderError | tarfile.TruncatedHeaderError)
            what = "it ends without the mark of its end and was cut off" if ends else "a header is damaged"
            raise tarfile.ReadError(f"{what}, at byte {archive.offset:,}") from None


def _check_end(archive: tarfile.TarFile) -> None:
    """Raise `tarfile.ReadError` where something follows the end of an archive; of a compressed one, check its CRC."""
    while rest := archive.fileobj.read(1 << 20):
        if rest.strip(b"\0"):
            raise tarfile.ReadError("something that belongs to no file follows its end")


class Files:
    """The files below a folder or in an archive: ``sizes`` maps their names, with slashes, to bytes.

    What systems leave beside others (`__MACOSX`, `._*`, `Thumbs.db`) is not there.

    ``stats`` is what the ledger notes of them: by the name of a file in a folder, or by an empty one of the archive;
    ``hashes`` maps those of a folder that were read to the sha256 of their content. ``shut`` names the folders that
    may not be read, ``lost`` the links that lead nowhere.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.hashes: dict[str, str] = {}
        # Before anything is read: what changes meanwhile has another time then.
        self.shut: list[str] = []
        self.lost: list[str] = []
        self.stats = ledger.survey(self.path, [""], self.shut, self.lost)
        try:
            if self.path.is_dir():
                self.sizes = {name: size for name, (size, _) in self.stats.items()}
            elif zipfile.is_zipfile(self.path):
                self._zip = zipfile.ZipFile(self.path)
                self.sizes = {entry.filename: entry.file_size for entry in self._zip.infolist() if not entry.is_dir()}
            else:
                self._tar = tarfile.open(self.path, tarinfo=_Entry)  # noqa: SIM115 - open as long as this object is
                self._members = {member.name.removeprefix("./"): member for member in self._tar if member.isfile()}
                _check_end(self._tar)
                self.sizes = {name: member.size for name, member in self._members.items()}
            self.sizes = {name: size for name, size in self.sizes.items() if not is_leftover(name)}
        except DAMAGE as error:
            # What `tarfile` tried, it lists line by line.
            reason = str(error).partition("\n")[0].rstrip(":")
            raise CamstudyError(f"{path}: cannot be read as a folder, tar or zip archive ({reason})") from None

    @property
    def is_archive(self) -> bool:
        """Whether the files are in an archive."""
        return hasattr(self, "_zip") or hasattr(self, "_tar")

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
                self.hashes[name] = hashlib.sha256(content).hexdigest()
        except DAMAGE as error:
            raise CamstudyError(f"{self.path}, {name}: cannot be read ({error}); {after(error)}") from None
        if len(content) != self.sizes[name]:
            raise CamstudyError(f"{self.path}, {name}: has {len(content)} of {self.sizes[name]} bytes; fetch it again")
        return content

    def hash(self, names: Iterable[str]) -> None:
        """Read those of a folder's files that were not read yet, for `hashes`."""
        for name in names:
            if not self.is_archive and name not in self.hashes:
                self.read(name)

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
        """Return variables of a MATLAB file, dimensions of length 1 removed; `CamstudyError` if one is not there.

        All of them if none is named.
        """
        import scipy.io
        from scipy.io.matlab import MatReadError

        stored = self.read(name)
        if stored.startswith((b"MATLAB 7.3", b"\x89HDF")):
            raise CamstudyError(
                f"{self.path}, {name}: is a MATLAB 7.3 file, which is another format; load it in MATLAB and save it "
                "with `-v7`"
            )
        what, advice = kind(stored)
        if what:
            raise CamstudyError(f"{self.path}, {name}: is {what}, expected a MATLAB file; {advice}")
        try:
            content = scipy.io.loadmat(io.BytesIO(stored), squeeze_me=True)
            variables = variables or [key for key in content if not key.startswith("__")]
            return {variable: content[variable] for variable in variables}
        except (MatReadError, ValueError, LookupError, TypeError, NotImplementedError, OSError, zlib.error) as error:
            reason = f"{type(error).__name__}: {error}"
            raise CamstudyError(
                f"{self.path}, {name}: not a MATLAB file with {' and '.join(variables) or 'variables'} ({reason}); "
                "fetch it again"
            ) from None

    def above(self, ending: str) -> str | None:
        """Return what comes before ``ending``, the end of a path, in the first name with it; None without one.

        It is empty or ends with a slash.
        """
        names = (name for name in sorted(self.sizes) if f"/{name}".endswith(f"/{ending}"))
        return next((name.removesuffix(ending) for name in names), None)

    def endswith(self, *endings: str) -> Iterator[str]:
        """Yield the names with one of these endings, whatever their case, sorted; none that is hidden."""
        return endswith(self.sizes, *endings)


def endswith(names: Iterable[str], *endings: str) -> Iterator[str]:
    """Yield the names with one of these endings, as `Files.endswith`."""
    found = (name for name in sorted(names) if name.lower().endswith(endings))
    return (name for name in found if not _is_hidden(name))


class Root:
    """A dataset's root that remembers what was opened below it, and what was looked for in vain.

    ``kinds`` are endings of files that count, beside images and what was read, if they come.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.opened: dict[str, Files] = {}
        self.absent: list[str] = []
        self.kinds: set[str] = set()

    def __fspath__(self) -> str:
        return str(self.path)

    __str__ = __fspath__

    def open(self, name: str) -> Files:
        """Open the folder or archive of this name; the root itself has an empty one."""
        if name not in self.opened:
            self.opened[name] = Files(Path(self.path, name))
        return self.opened[name]

    def find(self, name: str) -> Files | None:
        """Open what a distributor calls ``name``, as a folder or an archive; None if it is not there."""
        for candidate in (name, *(name + ending for ending in ARCHIVES)):
            if Path(self.path, candidate).exists():
                return self.open(candidate)
            self.absent.append(candidate)
        return None

    @property
    def stats(self) -> dict[str, ledger.Stat]:
        """Sizes and times of all files that were opened or listed, as `camstudy.core.ledger.survey` gives them."""
        return {_below(place, name): each for place, name, each in self._each("stats")}

    def record(
        self,
        table: str | Path,
        text: str,
        *,
        only: Sequence[str] = (),
        without: Sequence[str] = (),
        names_count: bool = False,
    ) -> str:
        """Write the table of what was read, as `camstudy.core.ledger.record`, and return the digest of the content.

        With ``names_count``, the names of what is ``without`` count, and its content does not.

        Of folders these are the files that were read, and the names of all that could be images or are of a kind that
        was read. Archives count as a whole; they are read for that.
        """
        hashes = {_below(place, name): each for place, name, each in self._each("hashes")}
        kinds = {PurePosixPath(name).suffix.lower() for name in hashes} - {""}
        hashes |= {place: sha256_file(files.path) for place, files in self.opened.items() if files.is_archive}
        places = {"places": [*self.opened], "absent": self.absent, "kinds": {*IMAGES, *self.kinds, *kinds}}
        if names_count:
            hashes = {name: each for name, each in hashes.items() if not ledger.matches(name, without)}
            without = ()
        return ledger.record(table, self.stats, hashes, **places, only=only, without=without, text=text)

    def _each(self, attribute: str) -> Iterator[tuple[str, str, object]]:
        for place, files in self.opened.items():
            for name, each in getattr(files, attribute).items():
                yield place, name, each


def _is_hidden(name: str) -> bool:
    return any(part[0] == "." and part != ".." for part in PurePosixPath(name).parts)


def letters(name: str) -> str:
    """Return a name with accents as part of their letters, whichever system wrote it: macOS keeps them apart."""
    return unicodedata.normalize("NFC", name)


def is_leftover(name: str) -> bool:
    """Return whether a name is of what systems leave beside others."""
    parts = PurePosixPath(name).parts
    return not LEFTOVERS.isdisjoint(part.lower() for part in parts) or parts[-1].startswith("._")


def _below(place: str, name: str) -> str:
    return f"{place}/{name}" if place and name else place or name


def find(root: str | Path | Root, name: str) -> Files | None:
    """Return what a distributor calls ``name`` below ``root``, as a folder or an archive; None if it is not there."""
    return (root if isinstance(root, Root) else Root(root)).find(name)


def start(manifest: str | Path, found: str) -> None:
    """Begin to prepare a dataset: what an earlier attempt left is deleted, unless all files are as it found them.

    ``found`` stands for the files that are read. An attempt goes on where the one before was cut off, so that the store
    would have both old and new files, were one replaced between them.
    """
    manifest = Path(manifest)
    begun = manifest.with_suffix(".sources.begun")
    if not begun.is_file() or begun.read_bytes() != f"{found}\n".encode():
        shutil.rmtree(store_path(manifest), ignore_errors=True)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        remove(begun)  # what is no file cannot be written
        begun.write_text(f"{found}\n")
