"""Photographs of one's own: any tree of images, with labels from its folders or a table, or without."""

from collections.abc import Mapping
from pathlib import Path

from camstudy.data.sources import BESIDE, SOURCES, Collection, Listing

IMAGES = 100


def _layout(entry: Mapping) -> str:
    if entry.get("labels", "folders") == "folders":
        return "put JPEG or PNG files there, in a folder for each class; or set `labels: null`"
    if isinstance(entry["labels"], Mapping):
        return f"put {', '.join(entry['labels'])} there, or name them in `labels` as they are called"
    table = f", and {entry['labels']} with the columns file and label" if entry["labels"] else ""
    return f"put JPEG or PNG files there{table}"


def _read(entry: Mapping, root: str | Path) -> tuple:
    from camstudy.core.paths import expanded
    from camstudy.data.formats.folder import read_folder

    keys = ("labels", "classes", "subset", "boxes", "num_classes")
    more = [expanded(place) for place in entry["more_roots"]]
    beside = {key: [entry[key]] if isinstance(entry[key], str) else entry[key] for key in BESIDE if entry.get(key)}
    return read_folder(root, more_roots=more, beside=beside, **{key: entry[key] for key in keys})


def listing(entry: Mapping, root: str | Path) -> Listing:
    """Return the number of images, and the classes."""
    found = _read(entry, root)
    return Listing(len(found.photographs), found.keys)


@SOURCES.register(
    "folder",
    kind="photographs",
    has=(),
    on_request=("labels", "boxes", *BESIDE),
    images=lambda entry: IMAGES,
    layout=_layout,
    listing=listing,
)
def read(entry: Mapping, root: str | Path) -> Collection:
    """Return the images."""
    found = _read(entry, root)
    return Collection(found.files, found.photographs, found.class_names, upright=True)
