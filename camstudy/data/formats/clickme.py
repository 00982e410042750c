"""ClickMe: photographs with maps of the places that people clicked to have them recognised.

Data: Linsley et al. 2019, "Learning what and where to attend", arXiv 1805.08819. The preprocessing of the
human maps is that of Harmonization (Fel et al. 2022, arXiv 2211.04533), to the pixel.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, UnidentifiedImageError
from simplejpeg import decode_jpeg

from camstudy.core.errors import CamstudyError
from camstudy.data.formats.tfrecord import parse_example, read_records, record_offsets

SIZE = 256
MAP_SIZE = 64
HALVES = "heatmap_halves"
BOXES, MASK, FIXATIONS = "boxes", "mask", "fixations"
LABEL_SET, PLACE = "label_set", "place"
MODES = {"L": "grey", "RGB": "RGB colour"}
# How exact the inverse cosine transform is: as Pillow's, or as TensorFlow's, which is faster by little.
Decoding = Literal["exact", "fast"]


@dataclass(frozen=True)
class Record:
    """One decoded record.

    image : uint8 (256, 256, 3)
    heatmap : uint8 (256, 256)
    label : class index
    halves : uint8 (2, 256, 256), heatmaps of two random halves of the annotators, or None if unknown
    shard, index : where it comes from
    boxes : int64 (k, 4), edges (top, left, bottom, right) of the objects in pixels, or None if unknown
    mask : uint8 (256, 256), 1 on the objects, or None if unknown
    fixations : float32 (k, 5), observer, place in the order, row, column, milliseconds, or None if unknown
    label_set : the classes that are in the image, of multi-label data, or None
    place : place among the records of the same image, which follow one another
    """

    image: np.ndarray
    heatmap: np.ndarray
    label: int
    halves: np.ndarray | None
    shard: str
    index: int
    boxes: np.ndarray | None = None
    mask: np.ndarray | None = None
    fixations: np.ndarray | None = None
    label_set: list[int] | None = None
    place: int = 0


def encode_example(
    image: np.ndarray,
    heatmap: np.ndarray,
    label: int,
    halves: np.ndarray | None = None,
    boxes: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    fixations: np.ndarray | None = None,
    label_set: Sequence[int] | None = None,
    place: int = 0,
) -> dict[str, bytes | int | list[bytes] | list[int]]:
    """Return the features of one ClickMe record, ready for `camstudy.data.formats.tfrecord.write_shard`.

    Parameters
    ----------
    image : uint8 (256, 256, 3), RGB; stored as JPEG of quality 95 with chroma at full resolution, because
        decoders differ most in how they enlarge subsampled chroma
    heatmap : uint8 (256, 256); stored as grey JPEG of quality 95
    label : class index
    halves : uint8 (2, 256, 256), heatmaps of two halves of the annotators; the real ClickMe has none
    boxes : integers (k, 4), edges (top, left, bottom, right) of the objects in pixels: a box of the first row ends
        at bottom 1; the real ClickMe has none
    mask : (256, 256), true on the objects; stored as PNG of one bit; the real ClickMe has none
    fixations : (k, 5), observer, place in the order, row, column and milliseconds of each; the real ClickMe has none
    label_set, place : of multi-label data, as `Record`; the real ClickMe has none
    """
    features = {"image": _encode_jpeg(image), "heatmap": _encode_jpeg(heatmap), "label": int(label)}
    if halves is not None:
        features[HALVES] = [_encode_jpeg(half) for half in halves]
    if boxes is not None:
        features[BOXES] = np.asarray(boxes, np.int64).ravel().tolist()
    if mask is not None:
        features[MASK] = _encode_mask(mask)
    if fixations is not None:
        features[FIXATIONS] = np.asarray(fixations, "<f4").tobytes()
    if label_set is not None:
        features |= {LABEL_SET: list(label_set), PLACE: int(place)}
    return features


def blur_human_map(heatmaps: np.ndarray) -> np.ndarray:
    """Return blurred human maps: (n, 256, 256) of any real dtype -> float32 (n, 64, 64), on the same scale.

    Bilinear to 64x64 without antialiasing, then cross-correlation with a 10x10 kernel exp(-(x^2 + y^2) / 200)
    of sum 1, x = -5..4 along columns and y = 4..-5 down rows, zero-padded by 4 before and 5 after both axes
    (TensorFlow's "SAME"). The even kernel and its padding shift the maps a little and darken their borders;
    both belong to the protocol. Resampling to 224x224 (`camstudy.core.geometry.resample`) completes it.
    """
    from scipy.ndimage import correlate1d

    heatmaps = np.asarray(heatmaps)
    if heatmaps.ndim != 3 or heatmaps.shape[1:] != (SIZE, SIZE):
        raise ValueError(f"heatmaps of shape {heatmaps.shape}, expected (n, {SIZE}, {SIZE})")
    # From 256 to 64 every sample lies midway between pixels 1 and 2 of four, on both axes.
    corners = [heatmaps[:, row::4, column::4].astype(np.float32) for row in (1, 2) for column in (1, 2)]
    small = sum(corners) / 4
    for axis, offsets in ((1, np.arange(4, -6, -1)), (2, np.arange(-5, 5))):
        weights = np.exp(-(offsets**2) / 200)
        # Origin -1 lets ten taps reach 4 back and 5 ahead; by default it is 5 and 4.
        small = correlate1d(small, weights / weights.sum(), axis, mode="constant", origin=-1)
    return small


def select(total: int, n: int | None, seed: int | None = None) -> np.ndarray:
    """Return the ascending positions of ``n`` of ``total`` records: the first, or with a seed a random subset.

    All of them if ``n`` is None. Raises `CamstudyError` if there are fewer than ``n``.
    """
    n = total if n is None else n
    if n > total:
        raise CamstudyError(f"n_images: {n} images asked for, but the source has {total}; ask for fewer")
    return np.arange(n) if seed is None else np.sort(np.random.default_rng(seed).choice(total, n, replace=False))


class ClickMe:
    """ClickMe shards as one sequence of records, in the order of the shards; ``n`` is their number.

    Opening walks over the records' lengths and keeps their places, 8 bytes a record; images are decoded when
    they are read. Any number of threads may read.

    Parameters
    ----------
    shards : paths of TFRecord files
    num_classes : labels must lie in [0, num_classes)
    jpeg : how images and heatmaps are decoded: ``exact`` as Pillow does, ``fast`` to the pixels of TensorFlow's
        ``tf.io.decode_jpeg``

    Raises
    ------
    CamstudyError : there is no shard, or one is missing, empty or cut off.
    """

    def __init__(self, shards: Sequence[str | Path], *, num_classes: int = 1000, jpeg: Decoding = "exact") -> None:
        if not shards:
            raise CamstudyError("ClickMe: no shards to read; name at least one TFRecord file")
        self.shards, self.num_classes, self.jpeg = [str(shard) for shard in shards], num_classes, jpeg
        self._offsets = [record_offsets(shard) for shard in shards]
        self._edges = np.cumsum([0, *map(len, self._offsets)])
        self.n = int(self._edges[-1])

    def read(self, positions: Sequence[int]) -> Iterator[Record]:
        """Yield the decoded records at ascending positions, one in memory at a time.

        Raises
        ------
        CamstudyError : a record is damaged, lacks a feature or holds one of another type, a JPEG cannot be
            decoded or has another size or colour mode, a label is out of range, or a position does not exist;
            names shard and record, what was found and what is expected.
        """
        positions = np.asarray(positions, np.int64)
        if np.any(np.diff(positions) <= 0) or np.any(positions < 0):
            raise ValueError("record positions must be ascending and not negative")
        if len(positions) and positions[-1] >= self.n:
            raise CamstudyError(
                f"ClickMe: record {positions[-1]} was asked for, but the {len(self.shards)} shards hold {self.n} "
                "records; ask for fewer images or add shards"
            )
        for shard, offsets, first in zip(self.shards, self._offsets, self._edges, strict=False):
            low, high = np.searchsorted(positions, (first, first + len(offsets)))
            local = (positions[low:high] - first).tolist()
            if local:
                for index, payload in read_records(shard, {i: int(offsets[i]) for i in local}):
                    yield _decode(payload, shard, index, self.num_classes, self.jpeg)


def _decode(payload: bytes, shard: str, index: int, num_classes: int, jpeg: Decoding) -> Record:
    where = f"{shard}, record {index}"
    features = parse_example(payload, where)
    (label,) = _feature(features, "label", int, 1, where)
    if not 0 <= label < num_classes:
        raise CamstudyError(f"{where}: label {label} is out of range; expected 0 to {num_classes - 1}")
    (image,) = _feature(features, "image", bytes, 1, where)
    (heatmap,) = _feature(features, "heatmap", bytes, 1, where)
    halves = None
    if HALVES in features:
        pair = _feature(features, HALVES, bytes, 2, where)
        halves = np.stack([_decode_jpeg(half, "L", f"{where}: `{HALVES}`", jpeg) for half in pair])
    return Record(
        _decode_jpeg(image, "RGB", f"{where}: `image`", jpeg),
        _decode_jpeg(heatmap, "L", f"{where}: `heatmap`", jpeg),
        label,
        halves,
        shard,
        index,
        _decode_boxes(features[BOXES], where) if BOXES in features else None,
        _decode_mask(*_feature(features, MASK, bytes, 1, where), where) if MASK in features else None,
        _decode_fixations(*_feature(features, FIXATIONS, bytes, 1, where), where) if FIXATIONS in features else None,
        *_decode_set(features, label, num_classes, where),
    )


def _decode_set(features: dict[str, list], label: int, num_classes: int, where: str) -> tuple[list[int] | None, int]:
    """Return the classes of the image and the record's place among its records; None and 0 of single-label data."""
    if LABEL_SET not in features:
        return None, 0
    labels, (place,) = features[LABEL_SET], _feature(features, PLACE, int, 1, where)
    if label not in labels or not all(isinstance(one, int) and 0 <= one < num_classes for one in labels):
        raise CamstudyError(
            f"{where}: `{LABEL_SET}` holds {labels}, expected classes from 0 to {num_classes - 1}, {label} among them"
        )
    return labels, place


def _feature(features: dict[str, list], name: str, kind: type, count: int, where: str) -> list:
    """Return a feature's values after checking their number and type."""
    if name not in features:
        known = ", ".join(sorted(features)) or "none"
        raise CamstudyError(f"{where}: has no feature `{name}`; its features: {known}")
    values = features[name]
    if len(values) != count or not all(isinstance(value, kind) for value in values):
        found = f"{len(values)} {type(values[0]).__name__}" if values else "nothing"
        raise CamstudyError(f"{where}: `{name}` holds {found}, expected {count} {kind.__name__}")
    return values


def _decode_jpeg(data: bytes, mode: str, where: str, jpeg: Decoding) -> np.ndarray:
    """Return the pixels of a 256x256 JPEG in the expected mode, "RGB" or "L" (grey); grey ones can become RGB."""
    try:
        with Image.open(BytesIO(data), formats=["JPEG"]) as image:
            # As TensorFlow's decode_jpeg(channels=3) does, where each channel gets the grey level.
            fits = image.mode == mode or (image.mode, mode) == ("L", "RGB")
            if not fits or image.size != (SIZE, SIZE):
                raise CamstudyError(
                    f"{where} is a JPEG of {_describe(image.mode, image.size)}, "
                    f"expected {_describe(mode, (SIZE, SIZE))}"
                )
            if jpeg == "fast":
                return _decode_fast(data, mode)
            return np.asarray(image.convert(mode))
    except UnidentifiedImageError:
        raise CamstudyError(f"{where} is no JPEG: its {len(data)} bytes begin with {data[:4]}") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise CamstudyError(f"{where} cannot be decoded as JPEG ({len(data)} bytes): {error}") from None


def _decode_fast(data: bytes, mode: str) -> np.ndarray:
    pixels = decode_jpeg(data, {"RGB": "RGB", "L": "GRAY"}[mode], fastdct=True)
    return pixels if mode == "RGB" else pixels[..., 0]


def _encode_mask(mask: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.asarray(mask, bool)).save(buffer, "PNG")
    return buffer.getvalue()


def _decode_mask(data: bytes, where: str) -> np.ndarray:
    try:
        with Image.open(BytesIO(data), formats=["PNG"]) as image:
            mask = np.asarray(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise CamstudyError(f"{where}: `{MASK}` cannot be decoded as PNG ({len(data)} bytes): {error}") from None
    if mask.dtype != bool or mask.shape != (SIZE, SIZE):
        raise CamstudyError(
            f"{where}: `{MASK}` is a PNG of {mask.dtype} {mask.shape}, expected {SIZE}x{SIZE} pixels of one bit"
        )
    return mask.astype(np.uint8)


def _decode_fixations(data: bytes, where: str) -> np.ndarray:
    """Return fixations (k, 5) after checking that they lie in the image."""
    if len(data) % 20:
        raise CamstudyError(f"{where}: `{FIXATIONS}` holds {len(data)} bytes, expected five float32 for each fixation")
    found = np.frombuffer(data, "<f4").reshape(-1, 5)
    if not ((found >= 0).all() and (found[:, 2:4] < SIZE).all()):
        raise CamstudyError(f"{where}: `{FIXATIONS}` holds places outside of {SIZE} pixels, or negative numbers")
    return found


def _decode_boxes(values: list, where: str) -> np.ndarray:
    """Return boxes (k, 4) after checking that they have edges in order and lie in the image."""
    if len(values) % 4 or not all(isinstance(value, int) for value in values):
        raise CamstudyError(f"{where}: `{BOXES}` holds {len(values)} values, expected four integers for each box")
    boxes = np.array(values, np.int64).reshape(-1, 4)
    if (boxes < 0).any() or (boxes > SIZE).any() or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise CamstudyError(
            f"{where}: `{BOXES}` holds {boxes.tolist()}, expected edges (top, left, bottom, right) within {SIZE} pixels"
        )
    return boxes


def _describe(mode: str, size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]} pixels in {MODES.get(mode, mode)}"


def _encode_jpeg(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, subsampling=0)
    return buffer.getvalue()
