"""ImageNet-1k's classes: their synsets by label and their names, from timm's tables, without importing timm."""

import csv
import importlib.util
from functools import cache
from pathlib import Path


@cache
def imagenet_synsets() -> tuple[str, ...] | None:
    """Return the synsets of ImageNet-1k by label; None if timm's list is not there."""
    text = _read("imagenet_synsets.txt")
    return tuple(text.split()) if text else None


@cache
def synset_names() -> dict[str, str]:
    """Return what synsets mean in words, such as "tench, Tinca tinca"; empty if timm's table is not there."""
    return dict(csv.reader((_read("imagenet_synset_to_lemma.txt") or "").splitlines(), delimiter="\t"))


def _read(name: str) -> str | None:
    spec = importlib.util.find_spec("timm")
    places = spec.submodule_search_locations if spec else None
    file = Path(places[0], "data/_info", name) if places else None
    return file.read_text() if file and file.is_file() else None
