"""Where images come from: one module for each source, which says what it has and how its files are read.

A module is imported when its source is asked for, and what reads files within functions, so that a study is planned
without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from camstudy.core.errors import CamstudyError, MissingFiles
from camstudy.core.registry import ModuleRegistry

if TYPE_CHECKING:
    import numpy as np

    from camstudy.data.formats.files import Files
    from camstudy.data.formats.photographs import Photograph

# What is made from where people looked: families that need it, and the references of controls that are made of it.
LOOKS, LOOKING = {"fixations", "human_map"}, {"fixation", "observers"}
Truth = Literal["labels", "human_maps", "human_halves", "boxes", "masks", "fixations"]
# What files in other folders say of each image, where a source takes them: its keys of these names are the folders.
BESIDE: tuple[Truth, ...] = ("masks", "human_maps", "human_halves")


@dataclass(frozen=True)
class Listing:
    """What names of files tell of a dataset: the number of its images, and what its classes are called by label.

    ``classes`` are ImageNet's synsets, or other names; None where there are none, or they are not known.
    """

    images: int
    classes: Sequence[str] | None = None


@dataclass(frozen=True)
class Archive:
    """A file that owners of data publish: its address, its sha256 (hex) where that is known, and the owners' page."""

    url: str
    sha256: str | None = None
    page: str = ""


@dataclass(frozen=True)
class Source:
    """A source of images: the function that reads its files, and the facts that studies need to know about it.

    ``kind`` says what the function is called with, and what it returns:

    - ``"photographs"``: ``function(entry, root)``, the catalogue's entry and a `camstudy.data.formats.files.Root`;
      returns a `Collection`
    - ``"shards"``: ``function(entry, shards)``, the entry and the paths of TFRecord files; returns a
      `camstudy.data.formats.clickme.ClickMe`

    ``listing(entry, files)``, with a root or shards as ``function`` has, returns a `Listing` from names and lists, fast
    enough for planning. ``images`` guesses the number of images of an entry without `n_images` where there are no files
    to list yet; ``layout`` says what a user puts into `root`, which errors repeat. ``archives(entry)`` names the files,
    by their names in `root`, that are fetched where no `root` is given; None for what cannot be fetched without asking.
    ``looks`` are patterns, as of `fnmatch`, of the files below `root` that say where people looked and nothing of the
    images; where their names decide which images there are, ``names_count``.
    ``has`` is known of every image; ``on_request`` where the entry's key of that name is true. ``items`` says whether
    an image can come several times, once for each class that is in it.
    """

    name: str
    function: Callable[[Mapping, object], object]
    kind: Literal["photographs", "shards"]
    has: tuple[Truth, ...]
    images: Callable[[Mapping], int]
    layout: Callable[[Mapping], str] | None = None
    listing: Callable[[Mapping, object], Listing | None] | None = None
    on_request: tuple[Truth, ...] = ()
    archives: Callable[[Mapping], Mapping[str, Archive]] | None = None
    items: Callable[[Mapping], bool] = lambda entry: False
    looks: Callable[[Mapping], Sequence[str]] = lambda entry: ()
    names_count: bool = False

    def read(self, entry: Mapping, files: object) -> object:
        """Call the function, and say what belongs into `root` where files are missing."""
        try:
            return self.function(entry, files)
        except MissingFiles as error:
            raise CamstudyError(f"{error}; {self.layout(entry)}") from None

    def truths(self, entry: Mapping) -> set[str]:
        """Return what is known of every image of a catalogue's entry."""
        return {*self.has, *(truth for truth in self.on_request if entry.get(truth))}


@dataclass(frozen=True)
class Collection:
    """Photographs of a source: where the files are, the images in their order, and the names of the classes, if any.

    ``density`` returns the human map of fixations, given height and width of their image, and ``sigma`` is about one
    degree of visual angle in its pixels; None without fixations. ``pixels``, uint8 (n, height, width, 3), are those of
    all images where these are of one size and share files. ``upright`` says to turn images as the EXIF of their files
    says; benchmarks are published with what is stored.
    """

    files: Files
    photographs: Sequence[Photograph]
    class_names: list[str] | None = None
    density: Callable[[np.ndarray, tuple[int, int]], np.ndarray] | None = None
    pixels: np.ndarray | None = None
    sigma: float | None = None
    upright: bool = False


SOURCES: ModuleRegistry[Source] = ModuleRegistry("source", Source, __name__)


def has_items(entry: Mapping) -> bool:
    """Whether images of a catalogue's dataset come once for each class that is in them."""
    return SOURCES[entry["source"]].items(entry)


def has_looks(entry: Mapping) -> bool:
    """Whether some files of a catalogue's dataset say where people looked, and nothing of its images."""
    return bool(SOURCES[entry["source"]].looks(entry))


def expected_images(entry: Mapping) -> int:
    """Return the number of images of a dataset's catalogue entry: a guess where only its files will tell."""
    return entry.get("n_images") or SOURCES[entry["source"]].images(entry)
