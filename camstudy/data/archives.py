"""Archives that a source's owners publish: which ones a dataset is made from, and how one is fetched and checked."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from camstudy.core.addresses import identity
from camstudy.core.download import fetch
from camstudy.core.errors import CamstudyError
from camstudy.core.identity import digest
from camstudy.core.paths import expanded, not_installed
from camstudy.core.provenance import verify
from camstudy.data.sources import BESIDE, SOURCES, Archive

_MARKUP = (b"<!doctype", b"<html", b"<?xml")


def archives_of(entry: Mapping) -> dict[str, Archive]:
    """Return what is fetched for a dataset's catalogue entry, by the name of the file.

    Nothing where the user gives `root`, or where the source's owners publish nothing that can be fetched. An address of
    the entry stands for the owners' of the same file.
    """
    if entry.get("root"):
        return {}
    published = SOURCES[entry["source"]].archives
    found = dict(published(entry)) if published else {}
    for name, stated in (entry.get("archives") or {}).items():
        page = found[name].page if name in found else ""
        found[name] = Archive(stated["url"], stated.get("sha256"), page)
    return found


def place_of(entry: Mapping) -> str:
    """Return the name of the folder that a dataset's archives are in: the same for all that are made from these."""
    found = {name: identity(archive.url) for name, archive in archives_of(entry).items()}
    return f"{entry['source']}-{digest(found)[:8]}"


def fetch_archive(name: str, archive: Archive, destination: Path, datasets: Sequence[str]) -> str:
    """Fetch one archive, see that it is whole and one, and return its sha256 (hex).

    Parameters
    ----------
    name : of the file, whose ending says what it must be: a tar or zip archive, or, with another ending, no web page
    archive : where it is, and what its checksum must be if that is known
    destination : where it comes to lie, only if it is good; a download that is cut off goes on beside it
    datasets : names of the catalogue's datasets that are made from it, for messages

    Raises `CamstudyError`, which says what to fetch and where to put it.
    """
    # Not the file itself, which Snakemake deletes when a job fails: the next attempt goes on where this one stopped.
    arriving = destination.with_name(f"{destination.name}.download")
    try:
        found = fetch(archive.url, arriving, archive.sha256)
        if wrong := _damage(name, arriving):
            arriving.unlink()
            raise CamstudyError(f"{identity(archive.url, '')}: {wrong}; nothing was kept")
    except CamstudyError as error:
        page = f" ({archive.page} says where it is now)" if archive.page else ""
        text = f"fetch {name} yourself{page}, put it into a folder, and name that folder as the `root`"
        entries = ", ".join(f"`catalog.datasets.{dataset}.root`" for dataset in datasets)
        raise CamstudyError(f"{error}. If the file has moved, {text} of the dataset: {entries}") from None
    arriving.replace(destination)
    return found


def check_archives(records: Sequence[str]) -> None:
    """Raise `Damaged` if an archive is not the one that its record describes, or was deleted to make room."""
    for record in records:
        verify(Path(record).with_suffix(""), record)


def missing_root(entry: Mapping) -> str | None:
    """Return what to do where the files that a dataset is prepared from are not there and cannot be fetched."""
    if "root" not in entry or "source" not in entry:
        return None
    source = SOURCES[entry["source"]]
    roots = [entry["root"], *entry.get("more_roots", ())] if entry["root"] else []
    absent = next((root for root in roots if not Path(expanded(root)).is_dir()), None)
    if absent is not None and (wrong := not_installed(absent)):
        return f"no directory `{absent}`: {wrong}"
    if absent is not None:
        shown = expanded(absent)
        where = f" in {Path.cwd()}" if not Path(shown).is_absolute() else ""
        unset = f" (there is no variable {shown[shown.index('$') :].split('/')[0]})" if "$" in shown else ""
        text = f"no directory `{shown}`{where}{unset}; make it"
    elif not entry["root"] and not entry.get("archives") and source.archives is None:
        text = "is not given, and nothing says where the files are fetched; give a directory"
    else:
        return None
    return f"{text} and {source.layout(entry)}" if source.layout else text


def missing_beside(entry: Mapping) -> Iterator[tuple[str, str]]:
    """Yield the key and what to do where a folder of masks or human maps is not there."""
    keys = [
        key for key in BESIDE if entry.get(key) and "source" in entry and key in SOURCES[entry["source"]].on_request
    ]
    for key in keys:
        for place in [entry[key]] if isinstance(entry[key], str) else entry[key]:
            if not Path(expanded(entry.get("root") or ""), expanded(place)).is_dir():
                wrong = not_installed(place) or f"below the root, {entry.get('root')}; make it, or correct the path"
                yield key, f"no directory `{expanded(place)}` {wrong}"


def _damage(name: str, path: Path) -> str | None:
    """Return what is wrong with a file that came, None if nothing can be seen to be."""
    from camstudy.data.formats.files import ARCHIVES, Files

    if name.lower().endswith(ARCHIVES):
        try:
            return None if Files(path).sizes else f"has no files in it, expected the archive {name}"
        except CamstudyError as error:
            return str(error).removeprefix(f"{path}: ")
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    return f"is a web page, expected the file {name}" if start.startswith(_MARKUP) else None
