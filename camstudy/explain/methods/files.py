"""Maps made elsewhere, by another toolbox or by the authors of a method, matched with the images by their names."""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.geometry import resample
from camstudy.core.ledger import record, survey
from camstudy.core.paths import expanded
from camstudy.core.provenance import sha256_file
from camstudy.explain.registry import METHODS, check

ENDINGS = (".npy", ".png", ".jpg", ".jpeg", ".tif", ".tiff")
CLOSE = 0.1  # by which the sides of a map may be out of proportion with its image's
SHOWN = 10  # names in a message


@METHODS.register("files", needs="dataset", source="maps made elsewhere", resolution="own")
def files(image_ids: np.ndarray, dataset: Mapping, *, path: str, size: int = 0) -> np.ndarray:
    """Return maps (n, h, w) of whole images from files, float32.

    ``path`` is a folder of ``.npy`` files or grey pictures, called as the images are (``cat/1.jpg`` has ``cat/1.npy``,
    or ``1.npy`` if no other image is called 1), or a zarr store of ``heatmap`` (n, h, w) and the images' names,
    ``image`` (n,). Maps of several shapes need ``size``: all are resampled to so many rows and columns. Raises
    `CamstudyError`, with names, where a map is missing, is no map, or has its image's sides the other way round.
    """
    check(size >= 0, "files", "size", size, "0, or a number of pixels")
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
    return np.stack(found).astype(np.float32)


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
    stems: dict[str, list[str]] = {}
    for name in known:
        stems.setdefault(PurePosixPath(name).name, []).append(name)
    ends = [PurePosixPath(_plain(image)).name for image in images]
    unique = {end for end, count in Counter(ends).items() if count == 1}
    found = []
    for image, end in zip(images, ends, strict=True):
        whole = _plain(image)
        other = stems.get(end, [])
        found.append(whole if whole in known else other[0] if len(other) == 1 and end in unique else None)
    missing = [image for image, name in zip(images, found, strict=True) if name is None]
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise CamstudyError(
            f"method `files`: {path} has no map of {len(missing)} of {len(images)} images: {', '.join(missing[:SHOWN])}"
            f"{more}; call maps as the images are"
        )
    return [known[name] for name in found]


def _plain(name: str) -> str:
    """Return a name without the ending of an image."""
    head, dot, ending = name.rpartition(".")
    return head if dot and f".{ending.lower()}" in ENDINGS else name


def _file_names(path: Path) -> dict[str, str]:
    if not path.is_dir():
        raise CamstudyError(f"method `files`: no folder or zarr store {path}; correct the parameter `path`")
    names = [name for name in survey(path, [""]) if name.lower().endswith(ENDINGS) and not name.startswith(".")]
    found: dict[str, str] = {}
    for name in sorted(names):
        if _plain(name) in found:
            raise CamstudyError(f"method `files`: {path} has two maps called {_plain(name)}; keep one of them")
        found[_plain(name)] = str(path / name)
    return found


def _zarr_names(path: Path) -> dict[str, int]:
    import zarr

    group = zarr.open_group(path, mode="r")
    if missing := [name for name in ("heatmap", "image") if name not in group]:
        raise CamstudyError(f"method `files`: {path} has no array {' and '.join(missing)}; call maps and names so")
    maps, names = group["heatmap"], [_plain(str(name)) for name in group["image"][:]]
    if maps.ndim != 3 or maps.shape[0] != len(names):
        raise CamstudyError(
            f"method `files`: {path}: `heatmap` is {maps.shape} for {len(names)} names, expected (names, height, width)"
        )
    return {name: position for position, name in enumerate(names)}


def _zarr(path: Path) -> Callable[[int], np.ndarray]:
    import zarr

    maps = zarr.open_group(path, mode="r")["heatmap"]
    return lambda position: np.asarray(maps[position], np.float32)


def _read(name: str) -> np.ndarray:
    """Return the map of a file, float32."""
    from PIL import Image

    try:
        if name.lower().endswith(".npy"):
            found = np.load(name, allow_pickle=False)
        else:
            with Image.open(name) as image:
                found = np.asarray(image)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        reason = str(error).partition("\n")[0]
        raise CamstudyError(f"method `files`: {name}: cannot be read ({reason}); make it again") from None
    if found.ndim == 3 and found.shape[0] == 1:
        found = found[0]
    if found.ndim != 2 or found.dtype.kind not in "fiu":
        raise CamstudyError(
            f"method `files`: {name}: is {found.dtype} {found.shape}, expected numbers (height, width): the map "
            "itself, not a colored picture of it"
        )
    return found.astype(np.float32)


def _check(found: np.ndarray, name: str | int, size: np.ndarray | None) -> None:
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
