"""Maps made elsewhere, by another toolbox or by the authors of a method, matched with the images by their names."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample
from camstudy.core.ledger import record, survey
from camstudy.core.paths import expanded
from camstudy.core.provenance import sha256_file
from camstudy.data.formats.files import endswith, is_leftover, letters
from camstudy.explain.registry import METHODS, check

NUMBERS = "fiu"  # kinds of dtypes
ENDINGS = (".npy", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
CLOSE = 0.1  # by which the sides of a map may be out of proportion with its image's
SHOWN = 10  # names in a message


@METHODS.register("files", needs="dataset", source="maps made elsewhere", resolution="own")
def files(image_ids: np.ndarray, dataset: Mapping, *, path: str, size: int = 0) -> np.ndarray:
    """Return maps (n, h, w) of whole images from files, float32.

    ``path`` is a folder of ``.npy`` files or grey pictures, called as the images are (``cat/1.jpg`` has ``cat/1.npy``,
    ``cat/1.jpg.npy``, or ``1.npy`` if no other image is called 1), or a zarr store of ``heatmap`` (n, h, w) and the
    images' names, ``image`` (n,). Maps of several shapes need ``size``: all are resampled to so many rows and columns.
    Raises `CamstudyError`, with names, where a map is missing, is no map, has values that are no numbers, or has its
    image's sides the other way round.
    """
    check(size == 0 or size > 1, "files", "size", size, "0, or a number of pixels from 2")
    names = _names(str(Path(expanded(path)).absolute()), tuple(map(str, np.asarray(dataset["image"][:]))))
    sizes = np.asarray(dataset["image_size"][:]) if "image_size" in dataset else None
    read = _zarr(Path(expanded(path))) if _is_zarr(Path(expanded(path))) else _read
    found = []
    for index in image_ids:
        with np.errstate(over="ignore"):  # told below
            one = read(names[index]).astype(np.float32)
        _check(one, names[index], None if sizes is None else sizes[index])
        found.append(resample(one[None], (size, size))[0] if size else one)
    if len({one.shape for one in found}) > 1:
        raise CamstudyError(f"method `files`: {path} has maps of several shapes; set the parameter `size`")
    return np.stack(found).astype(np.float32, copy=False)


def note(table: str | Path, path: str, text: str) -> None:
    """Write the table of the files that maps were read from, as `camstudy.core.ledger.record`."""
    root = Path(expanded(path))
    kinds = ("",) if _is_zarr(root) else ENDINGS
    stats = survey(root, [""])
    hashes = {name: sha256_file(root / name) for name in stats if name.lower().endswith(kinds)}
    record(table, stats, hashes, places=[""], kinds=kinds, text=text)


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


@cache
def _names(path: str, images: tuple[str, ...]) -> list[str | int]:
    """Return the map of each image: the path of a file, or the position in a store."""
    known = _zarr_names(Path(path)) if _is_zarr(Path(path)) else _file_names(Path(path))
    # The ending of a file is gone; a store has those of the images, or none.
    plain: Callable[[str], str] = _plain if _is_zarr(Path(path)) else str
    whole = {letters(name): each for name, each in known.items()}
    maps = _alone({letters(plain(name)): each for name, each in known.items()}, map(plain, known))
    ends = _alone({_end(name): name for name in maps}, map(_end, maps))
    plains = Counter(_plain(letters(image)) for image in images)
    lasts = Counter(map(_end, plains))
    found = []
    for image in map(letters, images):
        name = _plain(image)
        short = ends.get(_end(name), "") if lasts[_end(name)] == 1 else ""
        # With fewer folders or more, but not with others.
        same = f"/{name}".endswith(f"/{short}") or f"/{short}".endswith(f"/{name}")
        alone = maps.get(name, maps.get(short) if same else None) if plains[name] == 1 else None
        found.append(whole.get(image, alone))
    if missing := [image for image, each in zip(images, found, strict=True) if each is None]:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        there = f"maps called {', '.join(sorted(known)[:3])}" if known else f"no files of {', '.join(ENDINGS)}"
        raise CamstudyError(
            f"method `files`: {path} has no map of {len(missing)} of {len(images)} images: {', '.join(missing[:SHOWN])}"
            f"{more}; it has {there}; call maps as the images are, with another ending (`{_plain(missing[0])}.npy`), "
            f"or one more (`{missing[0]}.npy`) where images differ in theirs alone"
        )
    return found


def _alone(known: Mapping[str, object], names: Iterable[str]) -> dict[str, object]:
    """Return what is known by a name that is there once."""
    count = Counter(map(letters, names))
    return {name: each for name, each in known.items() if count[name] == 1}


def _plain(name: str) -> str:
    """Return a name without the ending of an image."""
    head, dot, ending = name.rpartition(".")
    return head if dot and f".{ending.lower()}" in ENDINGS else name


def _end(name: str) -> str:
    return name.rpartition("/")[2]


def _file_names(path: Path) -> dict[str, str]:
    """Return the paths of maps by their names without the map's own ending."""
    if not path.is_dir():
        raise CamstudyError(f"method `files`: no folder or zarr store {path}; correct the parameter `path`")
    found: dict[str, str] = {}
    for name in endswith(survey(path, [""]), *ENDINGS):
        if not is_leftover(name):
            if _plain(name) in found:
                raise CamstudyError(f"method `files`: {path} has two maps called {_plain(name)}; keep one of them")
            found[_plain(name)] = str(path / name)
    return found


def _zarr_names(path: Path) -> dict[str, int]:
    """Return the positions of maps in a store by what it calls them."""
    import zarr

    try:
        group = zarr.open_group(path, mode="r")
        missing = [name for name in ("heatmap", "image") if name not in group]
    except (OSError, ValueError, TypeError, LookupError) as error:
        reason = str(error).partition("\n")[0]
        raise CamstudyError(f"method `files`: {path} is no zarr group that can be read ({reason})") from None
    if missing:
        raise CamstudyError(f"method `files`: {path} has no array {' and '.join(missing)}; call maps and names so")
    maps, names = group["heatmap"], [*map(_text, group["image"][:])]
    if maps.ndim != 3 or maps.shape[0] != len(names) or maps.dtype.kind not in NUMBERS:
        raise CamstudyError(
            f"method `files`: {path}: `heatmap` is {maps.dtype} {maps.shape} for {len(names)} names, expected numbers "
            "(names, height, width)"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise CamstudyError(f"method `files`: {path} has two maps called {twice[0]}; keep one of them")
    return {name: position for position, name in enumerate(names)}


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _zarr(path: Path) -> Callable[[int], np.ndarray]:
    import zarr

    maps = zarr.open_group(path, mode="r")["heatmap"]
    return lambda position: np.asarray(maps[position])


def _read(name: str) -> np.ndarray:
    """Return the map of a file; of pictures, grey ones may have three channels or a palette."""
    from PIL import Image

    try:
        if name.lower().endswith(".npy"):
            stored = np.load(name, allow_pickle=False)
            if not isinstance(stored, np.ndarray):
                raise ValueError("it is a .npz file of several arrays")
        else:
            with Image.open(name) as image:
                stored = np.asarray(image.convert("RGB") if image.mode == "P" else image)
            if stored.ndim == 3 and stored.shape[2] == 3 and (stored == stored[..., :1]).all():
                stored = stored[..., 0]
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        reason = str(error).partition("\n")[0]
        raise CamstudyError(f"method `files`: {name}: cannot be read ({reason}); make it again") from None
    found = np.squeeze(stored) if stored.ndim > 2 else stored
    if found.ndim != 2 or found.dtype.kind not in NUMBERS:
        raise CamstudyError(
            f"method `files`: {name}: is {stored.dtype} {stored.shape}, expected numbers (height, width): the map "
            "itself, not a colored picture of it"
        )
    return found


def _check(found: np.ndarray, name: str | int, size: np.ndarray | None) -> None:
    """Raise `CamstudyError` where a map has not the proportions of its image; square ones fit all."""
    if odd := np.count_nonzero(~np.isfinite(found)):
        raise CamstudyError(
            f"method `files`: map {name} has {odd:,} values that are NaN, infinite or beyond float32; give numbers for "
            "them"
        )
    rows, columns = found.shape
    if min(rows, columns) < 2:
        raise CamstudyError(f"method `files`: map {name} is {rows} x {columns}, expected at least 2 x 2")
    height, width = (1, 1) if size is None else map(int, size)
    if rows == columns or abs(np.log(rows / columns * width / height)) <= CLOSE:
        return
    turned = abs(np.log(columns / rows * width / height)) <= CLOSE
    what = "its rows are columns: transpose it" if turned else "make it square, or as its image is"
    raise CamstudyError(
        f"method `files`: map {name} has {rows} rows and {columns} columns, its image {height} x {width}; {what}"
    )
