"""Files that belong to images, such as masks, human maps and maps made elsewhere: found by name, read as numbers.

One set of rules serves all of them, `match` for names and `read_grey` for what is in a file.
"""

import io
import struct
import tokenize
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from camstudy.core.errors import CamstudyError
from camstudy.core.kinds import kind
from camstudy.data.formats.files import IMAGES, OTHERS, Files, letters

LOSSY = (".jpg", ".jpeg")
GREY = (".npy", ".png", ".tif", ".tiff", *LOSSY)
MASKS = (".png",)
FORMATS = ("PNG", "TIFF", "JPEG")
NUMBERS = "fiub"  # kinds of dtypes
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, MemoryError, Image.DecompressionBombError)
# Of headers that are no longer what they were: seen in random damage.
DAMAGE += (zipfile.BadZipFile, tokenize.TokenError, TypeError, LookupError, struct.error, ArithmeticError)
_OWN = {"a TIFF file": "TIFF", "a NumPy array": "NPY"}
File = TypeVar("File")


class Place(NamedTuple):
    """A file of a folder."""

    files: Files
    name: str

    def __str__(self) -> str:
        return f"{self.files.path}, {self.name}"


def match(images: Sequence[str], known: Mapping[str, Sequence[File]]) -> dict[str, list[File]]:
    """Return by image what belongs to it: one where all is well, none where it is missing, several to choose from.

    Parameters
    ----------
    images : their names, with folders; no two are the same
    known : what there is, by the names that each goes by, without endings of its own; `by_name` of a folder's files

    These are the rules, of which the first that finds something holds:

    1. It is called as the image is, with the image's ending (``cat/1.jpg``) or without (``cat/1``).
    2. It lacks folders of the image's name, from the left: ``1`` of ``cat/1.jpg``.
    3. It has more folders, to the left, and no other does: ``all/cat/1`` of ``cat/1.jpg``.

    A name that two images might claim is of neither: ``cat/1`` beside ``cat/1.png`` and ``cat/1.jpg``, and ``1`` beside
    ``cat/1.jpg`` and ``dog/1.jpg``. Accents are letters, however they are written; capitals are other letters.
    """
    known = _merged(known)
    calls = {image: [*dict.fromkeys((letters(image), _plain(letters(image))))] for image in images}
    whole = Counter(name for names in calls.values() for name in names)
    ends = Counter(end for names in calls.values() for end in {*_ends(*names)})
    deeper: dict[str, set[str]] = defaultdict(set)
    for name in known:
        for end in _ends(name):
            deeper[end].add(name)
    found = {}
    for image, names in calls.items():
        usable = [name for name in names if whole[name] == 1] + [end for end in _ends(*names) if ends[end] == 1]
        more = (deeper[name] for name in names if ends[name] == 1)
        alone = next((each for each in more if each), set())
        name = next((name for name in usable if name in known), min(alone) if len(alone) == 1 else None)
        found[image] = known.get(name, [])
    return found


def wanted(images: Sequence[str], image: str, ending: str) -> str:
    """Return what to call the file of an image, for messages."""
    plain = _plain(letters(image))
    alone = Counter(name for each in images for name in {letters(each), _plain(letters(each))})[plain] == 1
    return f"{plain if alone else image}{ending}"


def by_name(names: Sequence[str]) -> dict[str, list[str]]:
    """Return files by their names without endings; a JPEG file beside another is a picture of that, and passed over."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(letters(name.rpartition(".")[0]), []).append(name)
    return {
        call: [each for each in every if not each.lower().endswith(LOSSY)] or every for call, every in found.items()
    }


def in_store(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the positions of maps in a store, called as images are with their endings or without."""
    found: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        for call in dict.fromkeys((letters(name), _plain(letters(name)))):
            found.setdefault(call, []).append(position)
    return found


def _merged(known: Mapping[str, Sequence[File]]) -> dict[str, list[File]]:
    found: dict[str, list[File]] = {}
    for name, files in known.items():
        found.setdefault(letters(name), []).extend(files)
    return found


def _plain(name: str) -> str:
    """Return a name without the ending of an image."""
    head, _, ending = name.rpartition(".")
    return head if head and f".{ending.lower()}" in (*IMAGES, *OTHERS) else name


def _ends(*names: str) -> Iterator[str]:
    """Yield names with ever fewer folders, the longest first."""
    parts = [name.split("/") for name in names]
    for count in range(max(map(len, parts)), 0, -1):
        yield from dict.fromkeys("/".join(each[-count:]) for each in parts)


def read_grey(content: bytes, where: str, what: str) -> np.ndarray:
    """Return the map of a file: a NumPy array or a grey picture (PNG, TIFF, JPEG), by its content, float32 (h, w).

    Values stay what they are, of 8 and 16 bits, too. A picture may have a palette, or three channels that are the same;
    of an array, axes of length 1 are left out.

    Parameters
    ----------
    content : of the file
    where : it is, for messages
    what : ``map`` or the like, for messages

    Raises `CamstudyError` for what cannot be read, has several pictures or transparency, is no two-dimensional array of
    numbers, or has values that are no finite numbers.
    """
    stored = _load(content, where) if content.startswith(b"\x93NUMPY") or where.lower().endswith(".npy") else None
    stored = decode(content, where) if stored is None else stored
    found = stored
    if found.ndim == 3 and found.shape[2] == 3 and (found == found[..., :1]).all():
        found = found[..., 0]
    found = np.squeeze(found) if found.ndim > 2 else found
    if found.ndim != 2 or found.dtype.kind not in NUMBERS or not found.size:
        raise CamstudyError(
            f"{where}: is {stored.dtype} {stored.shape}, expected numbers (height, width): the {what} itself, not a "
            "colored picture of it"
        )
    with np.errstate(over="ignore"):  # told below
        found = found.astype(np.float32)
    check_finite(found, where, what)
    return found


def check_finite(found: np.ndarray, where: str, what: str) -> None:
    """Raise `CamstudyError` for a map with values that are no finite numbers."""
    if odd := np.count_nonzero(~np.isfinite(found)):
        raise CamstudyError(
            f"{where}: is a {what} with {odd:,} values that are NaN, infinite or beyond float32; give numbers for them"
        )


def decode(content: bytes, where: str, formats: Sequence[str] = FORMATS) -> np.ndarray:
    """Return the pixels of a picture, (h, w) or, of colors, (h, w, c). Raises `CamstudyError` for other files."""
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            if image.mode.endswith("A"):
                raise CamstudyError(f"{where}: has transparency, which may mean anything; save it without, as grey PNG")
            if getattr(image, "n_frames", 1) > 1:
                raise CamstudyError(f"{where}: has {image.n_frames} pictures in it; save the one that is meant")
            return np.asarray(image.convert("RGB") if image.mode == "P" else image)
    except DAMAGE as error:
        raise _damaged(content, where, error, f"{' or '.join(formats)} file", formats) from None


def _load(content: bytes, where: str) -> np.ndarray:
    try:
        found = np.load(io.BytesIO(content), allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it is a .npz file of several arrays")
    except DAMAGE as error:
        raise _damaged(content, where, error, "NumPy array", ["NPY"]) from None
    return found


def _damaged(content: bytes, where: str, error: BaseException, expected: str, formats: Sequence[str]) -> CamstudyError:
    what, advice = kind(content)
    what = "" if _OWN.get(what) in formats or (formats == ["NPY"] and content.startswith(b"PK")) else what
    reason = f"it is {what}" if what else str(error).partition("\n")[0].partition(" <")[0] or type(error).__name__
    return CamstudyError(f"{where}: cannot be read as a {expected} ({reason}); {advice if what else 'make it again'}")
