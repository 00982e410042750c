"""Files from outside: a table of what was read of them, by which a change is noticed without reading them again.

The table of a result, ``{result}.sources.jsonl`` beside its manifest, is written when the result is made. Its first
line says what was read and what came of it, with a seal and the sha256 of the other lines. Each of these is a file:
name, size, time in nanoseconds and sha256, or null for a file that was only listed. When a study is planned, files are
listed, and only those of another size or time are read again.

What stands in identities must be known before a result is made and be the same afterwards, while the content is known
only once it was read. So the first content stands as nothing; a later one, which the table does not agree with, as its
digest; and who makes the result anew writes down that text as the one `accepted` for the content that it found.
"""

import hashlib
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from camstudy.core.errors import CamstudyError
from camstudy.core.files import replacing
from camstudy.core.identity import digest
from camstudy.core.provenance import SEAL, sha256_file

Stat = tuple[int, int]  # size in bytes, time of modification in nanoseconds
HEADER = ("accepted", "content", "seen", "listing", "places", "absent", "kinds")
_NO_TABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError, IsADirectoryError)
READERS = 8  # threads: file systems of clusters answer late
LARGE = 1 << 30  # bytes whose reading a user should know of


def content(header: Mapping | None, seen: str | None) -> str:
    """Return what stands for files from outside in an identity; the same before a result is made and afterwards.

    Parameters
    ----------
    header : of the table, None before the first result
    seen : digest of what is there now, None where nothing can be seen; then what was recorded stands
    """
    if header is None:
        return ""
    return header["accepted"] if seen in (None, header["content"]) else seen


def accepted(pin: str | None, record: Mapping | None) -> str:
    """Return what stands for a checksum that a user pinned, as `content` does: nothing if it is that of the record.

    Parameters
    ----------
    pin : sha256 (hex) that the file must have, or None
    record : of the file that was fetched, with ``sha256`` and the text ``accepted`` for it; None before
    """
    if record is None:
        return ""
    return record.get("accepted", "") if pin is None or pin.lower() == record["sha256"] else pin.lower()


def outside(table: str | Path, root: str | Path = ".") -> str:
    """Return what stands in an identity for what a result is made from: `content` of what is there now."""
    return content(read_header(table), refresh(table, root))


def listed(table: str | Path, files: Sequence[str]) -> str:
    """Return what stands for files that an entry names by their paths, in their order, as `outside` does.

    Other files of the same content are the same; files that are not there say nothing.
    """
    header = read_header(table)
    if header is None or header["places"] == [*files]:
        return outside(table)
    if not all(Path(file).is_file() for file in files):
        return header["accepted"]
    rows = _read_rows(table)
    recorded = [rows[place][2] if place in rows else None for place in header["places"]]
    found = [sha256_file(file) for file in files]
    return header["accepted"] if found == recorded else _digest([*enumerate(found)])


def table_of(manifest: str | Path) -> Path:
    """Return the path of the table that belongs to a manifest."""
    return Path(manifest).with_suffix(".sources.jsonl")


def walk(
    folder: str | Path, prefix: str = "", shut: list[str] | None = None, lost: list[str] | None = None
) -> dict[str, Stat]:
    """Return the files below a folder, at every depth, by their names with slashes; links are followed.

    Names begin with ``prefix``. A folder that links to one it lies in is not entered again. The names of those that may
    not be read are added to ``shut``, those of links that lead nowhere to ``lost``.
    """
    found: dict[str, Stat] = {}
    above: tuple[tuple[int, int], ...] = ()
    pending = [(prefix, os.fspath(folder), above)]
    while pending:
        prefix, path, above = pending.pop()
        try:
            here = Path(path).stat()
            if (here.st_dev, here.st_ino) in above:
                continue
            entries = [*os.scandir(path)]
        except PermissionError:
            if shut is not None:
                shut.append(prefix.rstrip("/"))
            continue
        except OSError:
            continue  # not there
        for entry in entries:
            try:
                if entry.is_dir():
                    inside = (*above, (here.st_dev, here.st_ino))
                    pending.append((f"{prefix}{entry.name}/", entry.path, inside))
                    continue
                status = entry.stat()
            except OSError:  # gone, or a link to nothing
                if lost is not None and entry.is_symlink():
                    lost.append(prefix + entry.name)
                continue
            if stat.S_ISREG(status.st_mode):
                found[prefix + entry.name] = (status.st_size, status.st_mtime_ns)
    return found


def survey(
    root: str | Path, places: Iterable[str], shut: list[str] | None = None, lost: list[str] | None = None
) -> dict[str, Stat]:
    """Return the files at some places below ``root``: those that are files, and all below those that are folders.

    ``shut`` and ``lost`` as for `walk`.
    """
    found = {}
    for place in places:
        path = Path(root, place)
        try:
            status = path.stat()
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found[place] = (status.st_size, status.st_mtime_ns)
        else:
            found |= walk(path, f"{place}/" if place else "", shut, lost)
    return found


def listing_of(stats: Mapping[str, Stat], came: Iterable[str] = ()) -> str:
    """Return a digest of names, sizes and times, and of names that came where none was."""
    text = "".join(f"{name}\0{stats[name][0]}\0{stats[name][1]}\0" for name in sorted(stats)) + "\0".join(came)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def record(
    table: str | Path,
    stats: Mapping[str, Stat],
    hashes: Mapping[str, str],
    *,
    places: Sequence[str],
    absent: Sequence[str] = (),
    kinds: Iterable[str] = (),
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    text: str = "",
) -> str:
    """Write the table of a result that was made, in one step, and return the digest of the content.

    Parameters
    ----------
    table : path, from `table_of`
    stats : of all files at the places, taken before they were read
    hashes : sha256 (hex) by name of those that were read; of others the name alone counts
    places : names of files and folders below the root that were read
    absent : names that were looked for in vain, and will be read instead if they come
    kinds : endings, in lower case, of files in folders that count; hidden files and others may come and go
    only, without : patterns of the names that the table is about, or is not, where several tables share the places
    text : what stood for the content in the identity of the result
    """
    scope = {"places": [*places], "absent": [*absent], "kinds": sorted(kinds)}
    scope |= {key: [*patterns] for key, patterns in (("only", only), ("without", without)) if patterns}
    scope["absent"] = [name for name in absent if _is_about(name, scope)]
    hashes = {name: each for name, each in hashes.items() if _is_about(name, scope)}
    # Whatever was read counts, under any name.
    scope["places"] += sorted(hashes.keys() - _counted(stats, scope).keys())
    stats = _counted(stats, scope)
    digest = _digest((name, hashes.get(name)) for name in stats)
    header = {"accepted": text, "content": digest, "seen": digest, "listing": listing_of(stats), **scope}
    _write(table, header, {name: (*stats[name], hashes.get(name)) for name in stats})
    return digest


def split(table: str | Path, other: str | Path, patterns: Sequence[str], *, names_count: bool = False) -> None:
    """Make two tables of one that was written before there were two, as `Root.record` writes them now.

    What ``patterns`` match belongs to ``other``, and, with ``names_count``, its names to both. Nothing happens where
    files have changed, as their content at the time of the result is not known any more.
    """
    header = read_header(table)
    if header is None or Path(other).exists() or header["seen"] != header["content"]:
        return
    rows = _read_rows(table)
    stats = {name: row[:2] for name, row in rows.items()}
    hashes = {name: row[2] for name, row in rows.items() if row[2]}
    about = {"places": header["places"], "absent": header["absent"], "kinds": header["kinds"]}
    rest = {name: each for name, each in hashes.items() if not matches(name, patterns)}
    with suppress(OSError):  # someone else's results
        record(other, stats, hashes, **about, only=patterns)
        record(table, stats, rest, **about, without=() if names_count else patterns, text=header["accepted"])


def note(table: str | Path, files: Sequence[str], text: str) -> str:
    """Read single files, given by path, and write their table, as `record` does."""
    stats = survey(".", files)
    return record(table, stats, {name: sha256_file(name) for name in stats}, places=files, text=text)


def refresh(table: str | Path, root: str | Path = ".") -> str | None:
    """Return the digest of what is there now, as `record` does; None without a table, or where no file is there.

    Files whose size or time differ from the table are read, which is then noted in it. Names that are new count with
    size and time, and a name that was looked for in vain counts if it is there.
    """
    header = read_header(table)
    if header is None:
        return None
    found = _counted(survey(root, header["places"]), header)
    if not found:
        return None
    came = [name for name in header["absent"] if Path(root, name).exists()]
    listing = listing_of(found, came)
    if listing == header["listing"]:
        return header["seen"]
    rows = _read_rows(table)
    changed = [name for name in found if name in rows and rows[name][2] and rows[name][:2] != found[name]]
    hashes = _read_again(root, changed, sum(found[name][0] for name in changed))
    rows |= {name: (*found[name], hashes[name]) for name in changed if hashes[name]}
    gone = {name for name in changed if hashes[name] is None}
    lines = [(name, rows[name][2] if name in rows else list(found[name])) for name in found if name not in gone]
    seen = _digest([*lines, *((name, "came") for name in came)])
    if read_header(table) == header:  # else a result was made meanwhile
        with suppress(OSError):  # someone else's results: the files are read again next time
            _write(table, header | {"seen": seen, "listing": listing}, rows)
    return seen


def read_header(table: str | Path) -> dict | None:
    """Return the first line of a table; None if there is no table, a `CamstudyError` if it has changed."""
    if not Path(table).exists():
        return None
    try:
        with Path(table).open() as file:
            header = json.loads(file.readline())
        # An earlier version sealed none.
        seal = header.pop(SEAL, None)
        if seal is not None and seal != digest(header):
            raise ValueError("it has changed since it was written")
        return {key: header[key] for key in HEADER} | header
    except _NO_TABLE as error:
        raise _no_table(table, error) from None


def _read_rows(table: str | Path) -> dict[str, tuple[int, int, str | None]]:
    try:
        with Path(table).open("rb") as file:
            stated = json.loads(next(file)).get("rows")
            rows, found = {}, hashlib.sha256()
            for line in file:
                found.update(line)
                name, size, time, sha256 = json.loads(line)
                rows[name] = (size, time, sha256)
        if stated not in (None, found.hexdigest()):
            raise ValueError("its list of files has changed since it was written")
        return rows
    except (*_NO_TABLE, StopIteration) as error:
        raise _no_table(table, error) from None


def _no_table(table: str | Path, error: Exception) -> CamstudyError:
    result = str(table).replace(".sources.jsonl", ".json")
    return CamstudyError(f"{table}: not a table of files ({error}); delete it and {result}, and run again")


def _write(table: str | Path, header: Mapping, rows: Mapping[str, tuple[int, int, str | None]]) -> None:
    def lines() -> Iterator[bytes]:
        return (f"{json.dumps([name, *rows[name]])}\n".encode() for name in sorted(rows))

    found = hashlib.sha256()
    for line in lines():
        found.update(line)
    header = {**header, "rows": found.hexdigest()}
    with replacing(table) as temporary, temporary.open("wb") as file:
        file.write(f"{json.dumps({**header, SEAL: digest(header)})}\n".encode())
        file.writelines(lines())


def _counted(stats: Mapping[str, Stat], scope: Mapping) -> dict[str, Stat]:
    """Return the files that are a place themselves, or are of the kinds that count."""
    places, kinds = set(scope["places"]), tuple(scope["kinds"])
    return {
        name: each
        for name, each in stats.items()
        if _is_about(name, scope)
        and ((name.lower().endswith(kinds) and "/." not in name and name[0] != ".") or name in places)
    }


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches one of some patterns, as of `fnmatch`, in which stars stand for slashes, too."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _is_about(name: str, scope: Mapping) -> bool:
    """Whether a table is about files of this name, by its header."""
    return matches(name, scope.get("only", ["*"])) and not matches(name, scope.get("without", ()))


def _digest(lines: Iterable[tuple[str | int, object]]) -> str:
    """Return 16 hexadecimal digits that stand for names and what belongs to each, in any order."""
    text = json.dumps(sorted(lines, key=lambda line: line[0]), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read_again(root: str | Path, names: Sequence[str], size: int) -> dict[str, str | None]:
    """Return the sha256 of files; None for those that cannot be read."""
    if size > LARGE:
        print(f"{root}: reading {len(names)} changed files again, {size / 1e9:.1f} GB", file=sys.stderr, flush=True)

    def read(name: str) -> str | None:
        try:
            return sha256_file(Path(root, name))
        except OSError:
            return None

    with ThreadPoolExecutor(READERS) as pool:
        return dict(zip(names, pool.map(read, names), strict=True))
