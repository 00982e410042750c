"""Pictures that belong to photographs of one's own and lie in other folders: masks of objects, and human maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from camstudy.core.errors import CamstudyError
from camstudy.core.paths import expanded
from camstudy.core.store import ArraySpec
from camstudy.data.formats.companions import GREY, MASKS, Place, by_name, decode, match, read_grey, wanted
from camstudy.data.formats.files import Files, Root

WHAT = {"masks": "mask", "human_maps": "human map", "human_halves": "human map"}
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class Beside:
    """Where the mask, the human map and the maps of two halves of the people are of one photograph, if anywhere."""

    mask: Place | None = None
    human_map: Place | None = None
    human_halves: tuple[Place, ...] = ()

    @property
    def places(self) -> list[Place]:
        """All of these files."""
        return [place for place in (self.mask, self.human_map, *self.human_halves) if place is not None]

    def read(self, size: tuple[int, int], shape: tuple[int, int]) -> dict[str, object]:
        """Return the mask's file and human maps resampled to ``shape``, as `camstudy.data.dataset` calls the arrays.

        ``size`` is height and width of the photograph. Raises `CamstudyError`, naming the file, for what does not fit.
        """
        found: dict[str, object] = {}
        if self.mask is not None:
            content = self.mask.files.read(self.mask.name)
            check_mask(decode_mask(content, str(self.mask)), size, str(self.mask))
            found["mask_file"] = content
        maps = [read_map(place, size, shape) for place in self.places if place is not self.mask]
        if self.human_map is not None:
            found["human_map"] = maps.pop(0)
        return found | ({"human_half": np.stack(maps)} if maps else {})


def beside_specs(several: Sequence[Beside | None], shape: tuple[int, int]) -> dict[str, ArraySpec]:
    """Return the arrays of what lies beside photographs, of which those without cannot be used.

    Human maps are of ``shape``.
    """
    first = next((each for each in several if each is not None), Beside())
    arrays = {}
    if first.mask is not None:
        sizes = [each.mask.files.sizes[each.mask.name] if each else 0 for each in several]
        arrays["mask_file"] = ArraySpec("uint8", offsets=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]))
    if first.human_map is not None:
        arrays["human_map"] = ArraySpec("float32", shape, ("map_y", "map_x"))
    if first.human_halves:
        arrays["human_half"] = ArraySpec("float32", (2, *shape), ("half", "map_y", "map_x"))
    return arrays


def together(several: Sequence[Mapping[str, object]]) -> dict[str, np.ndarray]:
    """Return what `Beside.read` has found of some photographs as the content of these arrays."""
    found: dict[str, np.ndarray] = {}
    for name in several[0] if several else ():
        each = [one[name] for one in several]
        found[name] = np.frombuffer(b"".join(each), np.uint8) if name == "mask_file" else np.stack(each)
    return found


def open_beside(root: Root, written: str, key: str) -> Files:
    """Return the files of a folder that is named relative to ``root``, which notes them; `CamstudyError` without it.

    One inside of the root has its name there, so that both may move.
    """
    given = expanded(written)
    path = Path(root.path, given)
    if not path.is_dir():
        raise CamstudyError(f"{root}: no directory `{given}` there, of `{key}`; make it, or correct `{key}`")
    if path.resolve() == root.path.resolve():
        raise CamstudyError(
            f"{root}: `{key}` names the folder of the images; put the {WHAT[key]}s into one of their own"
        )
    inside = _below(path, root.path)
    root.kinds |= {*_endings(key)}
    return root.open(str(path.resolve()) if inside is None else inside)


def leave_out(several: Sequence[Files], beside: Sequence[Files]) -> None:
    """Take the files of some folders out of those of others: masks and maps are no photographs."""
    for files in several:
        inside = tuple(f"{place}/" for other in beside if (place := _below(other.path, files.path)) is not None)
        files.sizes = {name: size for name, size in files.sizes.items() if not name.startswith(inside)}


def _below(path: Path, root: Path) -> str | None:
    """Return the name of a folder in another one, by its path or where links lead; None if it is not in that."""
    for place, above in ((path, root), (path.resolve(), root.resolve())):
        if place.is_relative_to(above) and ".." not in (rest := place.relative_to(above)).parts:
            return rest.as_posix()
    return None


def find_beside(images: Sequence[str], folders: Mapping[str, Sequence[Files]]) -> dict[str, Beside | CamstudyError]:
    """Return what lies beside each image, or which of it is missing.

    Parameters
    ----------
    images : their names
    folders : those of ``masks`` and ``human_maps``, one each, and of ``human_halves``, two; their files belong to the
        images as `camstudy.data.formats.companions.match` says

    Raises `CamstudyError` for a folder with nothing of any image.
    """
    found = {key: [_match(images, files, key) for files in several] for key, several in folders.items() if several}
    beside: dict[str, Beside | CamstudyError] = {}
    for image in images:
        own = {key: [match[image] for match in matches] for key, matches in found.items()}
        wrong = [place for place in chain.from_iterable(own.values()) if isinstance(place, CamstudyError)]
        halves = tuple(own.get("human_halves", ()))
        first = {key: own.get(key, [None])[0] for key in ("masks", "human_maps")}
        beside[image] = wrong[0] if wrong else Beside(first["masks"], first["human_maps"], halves)
    return beside


def _match(images: Sequence[str], files: Files, key: str) -> dict[str, Place | CamstudyError]:
    """Return the file of each image in one folder, or what is wrong."""
    there, known = [*files.endswith(*_endings(key))], {}
    for image, names in match(images, by_name(there)).items():
        if len(names) == 1:
            known[image] = Place(files, names[0])
        elif names:
            known[image] = CamstudyError(f"{files.path}: has {' and '.join(names)} of the image {image}; keep one")
        else:
            call = " or ".join(wanted(images, image, ending) for ending in _endings(key)[1::-1])
            known[image] = CamstudyError(f"{files.path}: has no {WHAT[key]} of the image {image}; put {call} there")
    if known and not any(isinstance(each, Place) for each in known.values()):
        has = f"files called {', '.join(there[:SHOWN])}" if there else f"no files of {', '.join(_endings(key))}"
        text = str(next(iter(known.values()))).partition("; ")[2]
        raise CamstudyError(
            f"{files.path}: has no {WHAT[key]} of any image, and {has}; call them as images are: {text}"
        )
    return known


def _endings(key: str) -> tuple[str, ...]:
    return MASKS if key == "masks" else GREY


def decode_mask(content: bytes, where: str) -> np.ndarray:
    """Return the mask of a PNG file, uint8 (h, w): 1 where it is not black. Raises `CamstudyError` for other files."""
    pixels = decode(content, where, ["PNG"])
    return (pixels > 0).any(-1).astype(np.uint8) if pixels.ndim == 3 else (pixels > 0).astype(np.uint8)


def check_mask(mask: np.ndarray, size: tuple[int, int], where: str) -> None:
    """Raise `CamstudyError` for a mask that has not the size of its photograph, or nothing in it."""
    if mask.shape != tuple(size):
        raise CamstudyError(
            f"{where}: is a mask of {_sides(mask.shape)}, and its photograph, upright, is {_sides(size)}; masks have "
            "the pixels of their photographs"
        )
    if not mask.any():
        raise CamstudyError(f"{where}: is a mask without an object, black everywhere; draw it, or leave the image out")


def read_map(place: Place, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Return a human map, resampled to ``shape``, float32: a mean of what lies in a pixel, weighted by a triangle.

    Enlarged, it is bilinear; in its own shape it stays as it is. Raises `CamstudyError`, naming the file, for what
    is no map of non-negative numbers, or none of a photograph of ``size``.
    """
    where = str(place)
    found = read_grey(place.files.read(place.name), where, "human map")
    _check_map(found, size, where)
    if found.shape == tuple(shape):
        return found
    # Pillow widens the triangle where it makes smaller, so that no peak falls between pixels.
    return np.asarray(Image.fromarray(found).resize(shape[::-1], Image.Resampling.BILINEAR))


def _check_map(found: np.ndarray, size: tuple[int, int], where: str) -> None:
    if (lowest := found.min()) < 0:
        raise CamstudyError(f"{where}: is a human map with negative values, down to {lowest:.4g}; they begin at 0")
    if lowest == found.max():
        raise CamstudyError(f"{where}: is a human map that is {lowest:.4g} everywhere; leave its image out")
    (rows, columns), (height, width) = found.shape, size
    # Whoever made it smaller rounded its sides.
    if min(abs(rows - columns * height / width), abs(columns - rows * width / height)) > 1:
        raise CamstudyError(
            f"{where}: is a human map of {_sides(found.shape)}, and its photograph, upright, is {_sides(size)}; maps "
            "have the proportions of their photographs"
        )


def _sides(size: Sequence[int]) -> str:
    return f"{size[0]} rows and {size[1]} columns"
