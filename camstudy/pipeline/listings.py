"""How many images the datasets of a study have and which classes, known when it is planned: from a list of their files.

Once a dataset is prepared, its manifest says how many; before, its files are listed, not read. What was found is kept
beside the manifest, for archives are slow to list.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path

from camstudy.core import ledger
from camstudy.core.errors import CamstudyError
from camstudy.core.identity import agrees, digest
from camstudy.core.provenance import read_json, write_json
from camstudy.data.sources import BESIDE, SOURCES, Listing, Source, expected_images
from camstudy.pipeline import paths

List = Callable[[Mapping, object], Listing | None]

NOT_LISTED = (
    "root",
    "on_error",
    "archives",
    "licence",
    "human_ceiling",
    *BESIDE,
    "n_images",
    "sample_seed",
    "boxes",
    "sigma",
)


class Listings:
    """What is known of datasets before they are prepared, and of those that are.

    Parameters
    ----------
    datasets : the catalogue's entries by name
    planned : returns the identity that a prepared dataset is to have
    """

    def __init__(self, datasets: Mapping[str, Mapping], planned: Callable[[str], str]) -> None:
        self._datasets, self._planned = datasets, planned
        # Every job of the plan asks.
        self.images, self.listing = cache(self._images), cache(self._listing)

    def _images(self, name: str, lists: bool = True) -> int:
        """Return the number of images of a dataset; a guess where nothing is known of them.

        ``lists`` says whether its files may be listed, which takes a minute for a million of them.
        """
        entry = self._datasets[name]
        if entry["n_images"]:
            return entry["n_images"]
        manifest = _read(paths.dataset(name))
        if manifest is not None and self._is_prepared(name):
            return manifest["n_images"]
        found = self.listing(name) if lists else None
        if found is not None:
            return found.images
        # What it was the last time is better than nothing.
        return expected_images(entry) if manifest is None else manifest["n_images"]

    def _is_prepared(self, name: str) -> bool:
        """Whether a dataset is there as it is planned, of the files that there are now."""
        manifest = _read(paths.dataset(name))
        return manifest is not None and agrees(manifest.get("identity", ""), self._planned(name))

    def _listing(self, name: str) -> Listing | None:
        """Return what the names of a dataset's files tell; None where there are none, or they are not as they must be.

        What is wrong with them, the job says that prepares the dataset.
        """
        entry = self._datasets[name]
        source, kept = SOURCES[entry["source"]], Path(paths.dataset(name)).with_suffix(".listing.json")
        shards = entry.get("shards")
        if source.listing is None or isinstance(shards, Mapping):
            return None
        of = digest(
            {key: value for key, value in entry.items() if key not in NOT_LISTED or _is_beside(source, key, value)}
        )
        known = _read(kept)
        same = known is not None and known["entry"] == of
        # What was prepared stands, whether its files are still there or not.
        if known is not None and same and (self._is_prepared(name) or known["files"] == _seen(entry, known)):
            return Listing(**known["found"])
        try:
            found, where = _list_shards(source.listing, entry) if shards else _list_root(source.listing, entry)
        except CamstudyError:
            return None
        if found is None:
            return None
        about = {"entry": of, **where}
        with suppress(OSError):  # someone else's results
            write_json(kept, {**about, "files": _seen(entry, about), "found": asdict(found)})
        return found


def _is_beside(source: Source, key: str, value: object) -> bool:
    """Whether a key names folders whose files, which may lie below the root, are no images."""
    return key in BESIDE and key in source.on_request and bool(value)


def _list_root(listing: List, entry: Mapping) -> tuple[Listing | None, dict]:
    from camstudy.data.formats.files import Root

    root = Root(paths.root(entry))
    found = listing(entry, root)
    return found, {"places": [*root.opened], "absent": root.absent}


def _list_shards(listing: List, entry: Mapping) -> tuple[Listing | None, dict]:
    return listing(entry, entry["shards"]), {"places": entry["shards"], "absent": []}


def _seen(entry: Mapping, known: Mapping) -> str:
    """Return what stands for names, sizes and times of the files that a listing is made from."""
    root = "." if entry.get("shards") else paths.root(entry)
    came = [name for name in known["absent"] if Path(root, name).exists()]
    return ledger.listing_of(ledger.survey(root, known["places"]), came)


def _read(path: str | Path) -> dict | None:
    """Return a file of JSON; None where there is none that can be read."""
    with suppress(CamstudyError):
        return read_json(path)
    return None
