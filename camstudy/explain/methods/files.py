"""Maps made elsewhere, by another toolbox or by the authors of a method, matched with the images by their names."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from camstudy.core.errors import CamstudyError, first_of
from camstudy.core.geometry import resample
from camstudy.core.ledger import record, survey
from camstudy.core.paths import expanded
from camstudy.core.provenance import sha256_file
from camstudy.data.formats.companions import (
    GREY,
    NUMBERS,
    Place,
    by_name,
    check_finite,
    in_store,
    match,
    read_grey,
    wanted,
)
from camstudy.data.formats.files import Files
from camstudy.explain.parameters import allowed
from camstudy.explain.registry import METHODS

CLOSE = 0.1  # by which the sides of a map may be out of proportion with its image's


@METHODS.register(
    "files",
    needs="dataset",
    source="maps made elsewhere",
    resolution="own",
    allowed={"size": allowed(lambda size: size == 0 or size > 1, "0, or a number of pixels from 2")},
)
def files(image_ids: np.ndarray, dataset: Mapping, *, path: str, size: int = 0) -> np.ndarray:
    """Return maps (n, h, w) of whole images from files, float32.

    ``path`` is a folder of ``.npy`` files or grey pictures, or a zarr store of ``heatmap`` (n, h, w) and names,
    ``image`` (n,); they belong to images as `camstudy.data.formats.companions.match` says, and are read as its
    `read_grey` does. Maps of several shapes need ``size``: all are resampled to so many rows and columns.
    Raises `CamstudyError`, with names, where a map is missing, is no map, has values that are no numbers, or has its
    image's sides the other way round.
    """
    names = _names(str(Path(expanded(path)).absolute()), tuple(map(str, np.asarray(dataset["image"][:]))))
    sizes = np.asarray(dataset["image_size"][:]) if "image_size" in dataset else None
    read = _zarr(Path(expanded(path))) if _is_zarr(Path(expanded(path))) else _read
    found = []
    for index in image_ids:
        one = read(names[index])
        _check(one, names[index], None if sizes is None else sizes[index])
        found.append(resample(one[None], (size, size))[0] if size else one)
    if len({one.shape for one in found}) > 1:
        raise CamstudyError(f"method `files`: {path} has maps of several shapes; set the parameter `size`")
    return np.stack(found).astype(np.float32, copy=False)


def note(table: str | Path, path: str, text: str) -> None:
    """Write the table of the files that maps were read from, as `camstudy.core.ledger.record`."""
    root = Path(expanded(path))
    kinds = ("",) if _is_zarr(root) else GREY
    stats = survey(root, [""])
    hashes = {name: sha256_file(root / name) for name in stats if name.lower().endswith(kinds)}
    record(table, stats, hashes, places=[""], kinds=kinds, text=text)


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


@cache
def _names(path: str, images: tuple[str, ...]) -> list[Place | int]:
    """Return the map of each image: a file, or the position in a store."""
    there: Sequence[str]
    if _is_zarr(Path(path)):
        there = _zarr_names(Path(path))
        found = match(images, in_store(there))
        called = {image: [there[each] for each in every] for image, every in found.items()}
    else:
        files = _files(Path(path))
        there = [*files.endswith(*GREY)]
        called = match(images, by_name(there))
        found = {image: [Place(files, each) for each in every] for image, every in called.items()}
    if twice := next((image for image, every in found.items() if len(every) > 1), None):
        raise CamstudyError(f"method `files`: {path} has {' and '.join(called[twice])} of the image {twice}; keep one")
    if missing := [image for image, every in found.items() if not every]:
        has = f"maps called {', '.join(there[:3])}" if there else f"no files of {', '.join(GREY)}"
        raise CamstudyError(
            f"method `files`: {path} has no map of {len(missing)} of {len(images)} images: {first_of(missing)}; "
            f"it has {has}; call maps as the images are, with another ending or one more: "
            f"`{wanted(images, missing[0], '.npy')}`"
        )
    return [found[image][0] for image in images]


def _files(path: Path) -> Files:
    if not path.is_dir():
        raise CamstudyError(f"method `files`: no folder or zarr store {path}; correct the parameter `path`")
    return Files(path)


def _zarr_names(path: Path) -> list[str]:
    """Return what a store calls its maps."""
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
    return names


def _text(name: object) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _zarr(path: Path) -> Callable[[int], np.ndarray]:
    import zarr

    maps = zarr.open_group(path, mode="r")["heatmap"]

    def read(position: int) -> np.ndarray:
        with np.errstate(over="ignore"):  # told below
            found = np.asarray(maps[position]).astype(np.float32)
        check_finite(found, f"method `files`: {path}, number {position}", "map")
        return found

    return read


def _read(place: Place) -> np.ndarray:
    return read_grey(place.files.read(place.name), f"method `files`: {place}", "map")


def _check(found: np.ndarray, name: Place | int, size: np.ndarray | None) -> None:
    """Raise `CamstudyError` where a map has not the proportions of its image; square ones fit all."""
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
