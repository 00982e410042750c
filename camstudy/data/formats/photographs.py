"""Photographs of all sizes: files kept as they are in one store, decoded when they are read.

Every model's own evaluation transform begins with the original pixels, so that nothing is resized here.
"""

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from camstudy.core.errors import CamstudyError
from camstudy.core.kinds import kind
from camstudy.core.store import ArraySpec, Fixed, StoreWriter
from camstudy.data.formats.beside import Beside, beside_specs, together
from camstudy.data.formats.boxes import cut_boxes
from camstudy.data.formats.files import Files

FORMATS = ["JPEG", "PNG"]
SIGNATURES = (b"\xff\xd8", b"\x89PNG")
DENSITY_SIZE = (128, 128)
NO_LABEL = -1
UNKNOWN = -1  # who made a fixation, when, and for how long
ORIENTATION = 0x112  # of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Photograph:
    """One image file of a source, with what is known of it. Where an image has several labels, it is there for each.

    name : name in the source's files
    label : class index, or -1 where there are no classes
    fixations : float32 (k, 2), rows and columns in pixels: the centre of the upper left pixel is (0.5, 0.5)
    observers : int16 (k,), who made the fixations, or -1 where that is not known
    orders : int16 (k,), at which place of its observer's fixations each one is, from 0; None where that is not known
    durations : float32 (k,), in milliseconds; None where that is not known
    outside : fixations that were recorded and lie outside of the image; they are not among the others
    boxes : int64 (k, 4), of the objects of the class: top, left, bottom, right in pixels, as `formats.boxes`
    item : what tells it from the others of its file, such as a class; nothing where there are no others
    caption : what it shows, in words, where there are no classes
    label_set : int8 (classes,), of multi-label data: which classes are in the image, as `camstudy.data.dataset`
    beside : the files of its mask and human maps; None without any
    wrong : why its annotation cannot be used; it is then treated as an image that cannot be decoded
    """

    name: str
    label: int = NO_LABEL
    fixations: np.ndarray | None = None
    observers: np.ndarray | None = None
    orders: np.ndarray | None = None
    durations: np.ndarray | None = None
    outside: int = 0
    boxes: np.ndarray | None = None
    item: str = ""
    caption: str = ""
    label_set: np.ndarray | None = None
    beside: Beside | None = None
    wrong: CamstudyError | None = None


def mixed(photographs: Sequence[Photograph]) -> list[Photograph]:
    """Return photographs in a random order that is always the same; neighbours of the same name stay together.

    Training reads neighbours together, which must not be of one class; and the first images are a random subset.
    """
    groups = [list(group) for _, group in groupby(photographs, lambda item: item.name)]
    order = np.random.default_rng(0).permutation(len(groups))
    return [item for position in order for item in groups[position]]


class Pictures(Sequence):
    """Encoded images that are decoded one at a time, when they are asked for: uint8 (h, w, 3), as by `decode`."""

    def __init__(self, contents: Sequence[bytes], names: Sequence[str], *, upright: bool = False) -> None:
        self._contents, self._names, self._upright = contents, names, upright

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, index: int) -> np.ndarray:
        return decode(self._contents[index], self._names[index], upright=self._upright)


def decode(content: bytes, where: str, *, upright: bool = False) -> np.ndarray:
    """Return the pixels of a JPEG or PNG file, uint8 (h, w, 3); grey, CMYK and transparent ones become RGB.

    Grey values of 16 bits are scaled to 8. With ``upright``, pixels are turned as the file's EXIF says: cameras and
    phones store what they saw on its side, and note that.
    """
    with _opened(content, where) as image:
        return pixels_of(image, where, upright=upright)


def pixels_of(image: Image.Image, where: str, *, upright: bool = False) -> np.ndarray:
    """Return the pixels of a picture of PIL as `decode` does."""
    try:
        if upright and (turn := _turn(image)) is not None:
            image = image.transpose(turn)
        if image.mode.startswith("I"):
            # Pillow would cut them off at 255.
            grey = (np.asarray(image).astype(np.int64) * 255 + 32767) // 65535
            return np.repeat(grey.astype(np.uint8)[..., None], 3, -1)
        # Converting what is RGB would copy it.
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise CamstudyError(f"{where}: cannot be decoded ({error}); fetch it again") from None


def check_image(content: bytes, where: str, *, upright: bool = False) -> tuple[int, int]:
    """Return height and width of a JPEG or PNG file; one that is cut off or damaged is a `CamstudyError`.

    A JPEG file is read to its end, but for an eighth of its resolution, which takes half of the time. ``upright`` as
    for `decode`.
    """
    with _opened(content, where) as image:
        size = image.height, image.width
        image.draft(None, (1, 1))
        try:
            image.load()
            turn = _turn(image) if upright else None
        except (OSError, SyntaxError, ValueError) as error:
            raise CamstudyError(f"{where}: cannot be decoded ({error}); fetch it again") from None
        # Those above 4 are on their side.
        return size[::-1] if turn in [*TURNS.values()][3:] else size


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return how an image is turned to be upright; None where it is, or its EXIF says nothing that can be read."""
    image.load()  # of PNG files, EXIF may come last
    try:
        return TURNS.get(image.getexif().get(ORIENTATION))
    except (OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
        return None


def _opened(content: bytes, where: str) -> Image.Image:
    try:
        return Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.DecompressionBombError as error:
        size = str(error).partition(", could")[0]
        raise CamstudyError(f"{where}: is too large to be decoded ({size}); scale it down") from None
    except (OSError, SyntaxError, ValueError) as error:
        what, advice = kind(content)
        if not what and not content.startswith(SIGNATURES):
            advice = "give a JPEG or PNG file in its place"
        # What Pillow says of a file that it does not know is where it lies in memory.
        unknown = isinstance(error, UnidentifiedImageError)
        found = f", but {what}" if what else "" if unknown else f" ({error})"
        raise CamstudyError(f"{where}: neither a JPEG nor a PNG file{found}; {advice}") from None


class _Seen(NamedTuple):
    """Of an image the file, the size, the boxes, cut at its borders, and the arrays of what lies beside it."""

    content: bytes
    size: tuple[int, int]
    boxes: np.ndarray | None
    beside: dict[str, object]


def _look(files: Files, items: Sequence[Photograph], threads: int, upright: bool) -> list[_Seen | CamstudyError]:
    """Return what is seen of each image, or what is wrong with it."""

    def one(item: Photograph, content: bytes | None) -> _Seen | CamstudyError:
        where = f"{files.path}, {item.name}"
        if item.wrong:
            return item.wrong
        try:
            content = files.read(item.name) if content is None else content
            size = check_image(content, where, upright=upright)
            boxes = None if item.boxes is None else cut_boxes(item.boxes, size, where)[0]
            return _Seen(content, size, boxes, item.beside.read(size, DENSITY_SIZE) if item.beside else {})
        except CamstudyError as error:
            return error

    try:
        contents = files.read_all([item.name for item in items])
    except CamstudyError:
        contents = [None] * len(items)  # one by one, to know which
    with ThreadPoolExecutor(threads if contents and contents[0] is not None else 1) as pool:
        return [*pool.map(one, items, contents)]


def note_read(files: Files, photographs: Sequence[Photograph]) -> None:
    """Read what was not read yet of photographs and of what lies beside them, for the hashes of their files."""
    files.hash(item.name for item in photographs)
    for item in photographs:
        for place in item.beside.places if item.beside else ():
            place.files.hash([place.name])


def readable(
    files: Files, photographs: Sequence[Photograph], *, chunk: int = 64, threads: int = 1, upright: bool = False
) -> tuple[list[Photograph], list[str]]:
    """Return the photographs that can be decoded, with all that belongs to them, and what is wrong with the others.

    ``upright`` as for `decode`.
    """
    kept, texts = [], []
    for start in range(0, len(photographs), chunk):
        items = photographs[start : start + chunk]
        seen = _look(files, items, threads, upright)
        kept += [item for item, each in zip(items, seen, strict=True) if not isinstance(each, CamstudyError)]
        texts += [str(each) for each in seen if isinstance(each, CamstudyError)]
    return kept, texts


def _refuse(wrong: Sequence[CamstudyError]) -> None:
    """Raise `CamstudyError` that names all damaged files."""
    texts = list(dict.fromkeys(map(str, wrong)))
    if len(texts) > 1:
        lines = "\n  ".join(texts)
        raise CamstudyError(f"{len(texts)} files cannot be used; with `on_error: skip` they are left out:\n  {lines}")
    if texts:
        raise CamstudyError(texts[0])


def write_photographs(
    manifest: str | Path,
    files: Files,
    photographs: Sequence[Photograph],
    *,
    attrs: Mapping[str, object],
    identity: str,
    density: Callable[[np.ndarray, tuple[int, int]], np.ndarray] | None = None,
    facts: Callable[[], Mapping[str, object]] = dict,
    chunk: int = 64,
    threads: int = 1,
) -> None:
    """Write photographs to the store of ``manifest``, one chunk in memory at a time; a killed job's is continued.

    Every image is decoded; those that cannot be, or whose annotation is ``wrong``, are a `CamstudyError` that names all
    of them; so is a mask or human map that does not fit. The file of neighbours with the same name is stored once.
    Boxes are cut at the borders of their image; how many were, is printed, and one that lies outside is a
    `CamstudyError`.

    Parameters
    ----------
    manifest : path of the JSON file that is written last; the store lies beside it
    files : where the images are
    photographs : the images in their order; all of them have fixations, or none; and so with boxes
    attrs : attributes of the store, as for `camstudy.data.dataset.write_dataset`; ``upright`` as for `decode`
    identity : a line of text that is the same as long as the content is
    density : returns the human map (128, 128) of fixations, given height and width of their image
    facts : returns what the manifest says beside it; called when all is written
    chunk : images per chunk, the step in which an interrupted job resumes
    threads : images that are decoded at the same time
    """
    n, names = len(photographs), [item.name for item in photographs]
    own, cut, wrong = _has_own_file(names), 0, []
    arrays = _arrays(photographs, np.where(own, [files.sizes[name] for name in names], 0), density is not None)
    writer = StoreWriter(
        manifest,
        n=n,
        chunk=chunk,
        arrays=arrays,
        attrs=attrs,
        identity=identity,
        fixed=_fixed(photographs, own, attrs["class_names"]),
    )
    for part in tqdm(writer.pending(), Path(manifest).stem, unit="chunk", mininterval=10):
        items = photographs[part]
        looked = _look(files, items, threads, attrs.get("upright", False))
        seen = [each for each in looked if not isinstance(each, CamstudyError)]
        if len(seen) < len(looked):
            wrong += [each for each in looked if isinstance(each, CamstudyError)]
            continue
        sizes, boxes = [each.size for each in seen], [each.boxes for each in seen]
        values = {
            "image_size": np.array(sizes, np.int64),
            "image_file": np.frombuffer(b"".join(compress([each.content for each in seen], own[part])), np.uint8),
            **together([each.beside for each in seen]),
        }
        if "box" in arrays:
            values["box"] = np.concatenate(boxes)
            cut += sum(int((i.boxes != box).any(1).sum()) for i, box in zip(items, boxes, strict=True))
        if density is not None:
            values |= gaze_arrays(items) | {
                "human_map": np.stack([density(i.fixations, size) for i, size in zip(items, sizes, strict=True)]),
            }
        writer.write(part, **values)
    _refuse(wrong)
    if cut:
        print(f"{cut} boxes reached beyond their images and were cut at the borders")
    if outside := sum(item.outside for item in photographs):
        print(f"{outside} fixations lie outside of their images and were left out")
    writer.finish(**facts())


def gaze_specs(offsets: np.ndarray) -> dict[str, ArraySpec]:
    """Return the ragged arrays of fixations."""
    return {
        "fixation": ArraySpec("float32", (2,), ("row_column",), offsets=offsets),
        "observer": ArraySpec("int16", offsets=offsets),
        "fixation_order": ArraySpec("int16", offsets=offsets),
        "fixation_duration": ArraySpec("float32", offsets=offsets),
    }


def gaze_arrays(items: Sequence[Photograph]) -> dict[str, np.ndarray]:
    """Return the content of these arrays, -1 where it is not known."""

    def known(name: str, dtype: type) -> np.ndarray:
        each = ((getattr(item, name), len(item.fixations)) for item in items)
        return np.concatenate([np.full(n, UNKNOWN, dtype) if found is None else found for found, n in each])

    return {
        "fixation": np.concatenate([item.fixations for item in items]),
        "observer": np.concatenate([item.observers for item in items]),
        "fixation_order": known("orders", np.int16),
        "fixation_duration": known("durations", np.float32),
    }


def _has_own_file(names: Sequence[str]) -> np.ndarray:
    """Return which images do not share the file of the one before them, bool (n,)."""
    return np.array([index == 0 or names[index - 1] != name for index, name in enumerate(names)])


def _fixed(photographs: Sequence[Photograph], own: np.ndarray, class_names: Sequence[str] | None) -> dict[str, Fixed]:
    """Return what is known before any file is read: names and labels, and whose file it is where some are shared."""
    names = [f"{item.name}#{item.item}" if item.item else item.name for item in photographs]
    labels = np.array([item.label for item in photographs], np.int64)
    fixed = {"image": (("image",), names), "label": (("image",), labels)}
    if class_names:
        fixed["class_name"] = (("image",), ["" if label == NO_LABEL else class_names[label] for label in labels])
    elif any(item.caption for item in photographs):
        fixed["class_name"] = (("image",), [item.caption for item in photographs])
    if len(photographs) and photographs[0].label_set is not None:
        fixed["label_set"] = (("image", "class"), np.stack([item.label_set for item in photographs]))
    if not own.all():
        fixed["image_source"] = (("image",), np.maximum.accumulate(np.where(own, np.arange(len(own)), 0)))
    return fixed


def _arrays(photographs: Sequence[Photograph], sizes: np.ndarray, has_gaze: bool) -> dict[str, ArraySpec]:
    """Return the arrays that are written chunk by chunk, given the number of bytes that each image adds."""
    arrays = {
        "image_size": ArraySpec("int64", (2,), ("height_width",)),
        "image_file": ArraySpec("uint8", offsets=_offsets(sizes)),
    }
    if len(photographs) and photographs[0].boxes is not None:
        arrays["box"] = ArraySpec("int64", (4,), ("edge",), offsets=_offsets(len(item.boxes) for item in photographs))
    if has_gaze:
        edges = _offsets(len(item.fixations) for item in photographs)
        arrays |= gaze_specs(edges) | {"human_map": ArraySpec("float32", DENSITY_SIZE, ("map_y", "map_x"))}
    return arrays | beside_specs([item.beside for item in photographs], DENSITY_SIZE)


def _offsets(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum([*lengths], dtype=np.int64)]).astype(np.int64)
