"""The dataset store: images, labels and human maps in one Zarr store, the same for every source.

- `pixels`: uint8 (image, y, x, channel), 256x256 RGB; of CIFAR 32x32, without human maps
- coordinates of the images: `image`: str, the name: of a record `shard#index`, of a photograph that of its file;
  `label`: int64, -1 where there are no classes; `class_name`: str, where classes have names
- `human_map`: float32 (image, map_y, map_x), the blurred 64x64 map of ClickMe's preprocessing
- `human_half`: float32 (image, half, map_y, map_x), where known: the same for two halves of the annotators
- `box`: int64 (image, object, edge), where known: top, left, bottom, right of the objects of the image's class in
  pixels of `image`, a box of its first row ending at bottom 1; -1 in the places of images with fewer
- `mask`: uint8 (image, y, x), where known: 1 on these objects
- `label_set`: int8 (image, class), of multi-label data: 1 for classes that are in the image, 0 for others, -1 for those
  that are neither. An image comes once for each class that is 1, as an *item* with that class's label and boxes
- `image_source`: int64 (image), where items share an image: the position of the first of them

Stores of photographs (`camstudy.data.formats.photographs`) have no `pixels` but the files themselves, and gaze where
known:

- `image_file`: uint8, ragged: the bytes of the JPEG or PNG files
- `image_source` as above: of the items of an image, the first alone has the bytes
- `image_size`: int64 (image, 2), height and width
- the attribute `upright` says that images are turned as the EXIF of their files says, sizes and boxes included
- `fixation`: float32 (..., 2), ragged: rows and columns in pixels; `observer`: int16, ragged: who made them;
  `fixation_order`: int16, ragged: at which place of the observer's fixations, from 0; `fixation_duration`: float32,
  ragged: in milliseconds; each -1 where that is not known. The attribute `sigma` is about one degree, in pixels
- `human_map`: the density of the fixations, 128x128 over the whole image, or a map that a user gives, resampled to
  that; `human_half` likewise
- `mask_file`: uint8, ragged, where known: the bytes of PNG files of the size of the image, black but on the objects
- `box`: int64 (..., 4), ragged, where known: edges in pixels of the photograph, as above; at least one per image

Of a ragged array `x`, image i has the elements from `x_offset[i]` to `x_offset[i + 1]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from camstudy.core.errors import CamstudyError
from camstudy.core.store import Store, open_store, overlaid
from camstudy.data.formats.beside import decode_mask
from camstudy.data.formats.photographs import Pictures

# What every reader may rely on: the dataset's name in the catalogue, its source and licence, whether its human maps are
# "recorded" from people or "simulated" (None without any), and the names of the classes by label (None without any).
# What is read from a store of its own where it was corrected.
GAZE = ("fixation", "observer", "fixation_order", "fixation_duration", "human_map")
ATTRIBUTES = {"dataset", "source", "licence", "human_maps", "class_names"}


@dataclass(frozen=True)
class Dataset:
    """A finished dataset store, open for reading; ``part`` selects images by slice or list of positions."""

    path: Path
    group: Store

    @property
    def n(self) -> int:
        """Number of images."""
        return len(self.group["label"])

    @property
    def chunk(self) -> int:
        """Number of images per chunk; reading is fastest in whole chunks."""
        return self.group["pixels" if "pixels" in self.group else "image_size"].chunks[0]

    @property
    def attrs(self) -> dict:
        """Attributes of the store, see `ATTRIBUTES`."""
        return self.group.attrs

    def names(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return the images' names, str (k,): `shard#index` of records, the file's of photographs."""
        return self._read("image", part).astype(object)

    @property
    def labels(self) -> np.ndarray:
        """Class indices, int64 (n,)."""
        return self._read("label", slice(None))

    def shown(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return what the images show, str (k,): their class by name or number, else a caption, or nothing."""
        labels, names = self.labels[part], self.attrs["class_names"] or []
        if (labels < 0).any():
            return (
                self._read("class_name", part).astype(object)
                if "class_name" in self.group
                else np.full(len(labels), "")
            )
        return np.array([names[label] if label < len(names) else str(label) for label in labels])

    @property
    def label_sets(self) -> np.ndarray | None:
        """Which classes are in each item's image, int8 (n, classes): 1, 0, or -1 for neither; None of other data."""
        return self.group["label_set"][:] if "label_set" in self.group else None

    @property
    def sources(self) -> np.ndarray:
        """The position of the first item of each item's image, int64 (n,): its own where images have one item each."""
        return self._read("image_source", slice(None)) if "image_source" in self.group else np.arange(self.n)

    @property
    def sizes(self) -> np.ndarray | None:
        """Heights and widths of photographs, int64 (n, 2); None for square images."""
        return self.group["image_size"][:] if "image_size" in self.group else None

    @property
    def shapes(self) -> np.ndarray:
        """Heights and widths of all images, photographs or squares, int64 (n, 2)."""
        sizes = self.sizes
        return np.tile(self.group["pixels"].shape[1:3], (self.n, 1)) if sizes is None else sizes

    def images(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray | Pictures:
        """Return images, uint8 (k, side, side, 3); of photographs a sequence of uint8 (h, w, 3), decoded on demand."""
        if "pixels" in self.group:
            return self._read("pixels", part)
        positions = np.arange(self.n)[part]
        where = [f"{self.path}, image {index}" for index in positions]
        contents = [content.tobytes() for content in self._files(positions)]
        return Pictures(contents, where, upright=self.attrs.get("upright", False))

    def fixations(self, part: slice | Sequence[int] = slice(None)) -> list[np.ndarray]:
        """Return fixations, for each image float32 (fixations, 2): rows and columns in pixels, (0.5, 0.5) the first."""
        return self._read_ragged("fixation", part)

    def observers(self, part: slice | Sequence[int] = slice(None)) -> list[np.ndarray]:
        """Return who made the fixations, for each image int16 (fixations,); -1 where that is not known."""
        return self._read_ragged("observer", part)

    def orders(self, part: slice | Sequence[int] = slice(None)) -> list[np.ndarray]:
        """Return which of its observer's fixations each one is, for each image int16 (fixations,); -1 if not known."""
        return self._read_ragged("fixation_order", part)

    def durations(self, part: slice | Sequence[int] = slice(None)) -> list[np.ndarray]:
        """Return the milliseconds of each fixation, for each image float32 (fixations,); -1 where not known."""
        return self._read_ragged("fixation_duration", part)

    def human_map(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return human maps, float32 (k, 64, 64), of photographs (k, 128, 128)."""
        return self._read("human_map", part)

    def human_half(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return maps of two halves of the annotators, float32 (k, 2, 64, 64), of photographs (k, 2, 128, 128)."""
        return self._read("human_half", part)

    def _files(self, positions: np.ndarray) -> list[np.ndarray]:
        if "image_source" not in self.group or not len(positions):
            return self._read_ragged("image_file", positions)
        sources = self._read("image_source", positions)
        if np.any(np.diff(positions) != 1):
            return self._read_ragged("image_file", sources)
        # Those between have no bytes of their own.
        files = self._read_ragged("image_file", slice(sources[0], sources[-1] + 1))
        return [files[source - sources[0]] for source in sources]

    def _read_ragged(self, name: str, part: slice | Sequence[int]) -> list[np.ndarray]:
        positions = np.arange(self.n)[part]
        if len(positions) and np.all(np.diff(positions) == 1):
            # Neighbours in one go: chunks hold many images, and a large store has many offsets.
            offsets = self._read(f"{name}_offset", slice(positions[0], positions[-1] + 2))
            content = self.group[name][offsets[0] : offsets[-1]]
            return np.split(content, offsets[1:-1] - offsets[0])
        offsets = self._read(f"{name}_offset", slice(None))
        return [self.group[name][offsets[position] : offsets[position + 1]] for position in positions]

    def boxes(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray:
        """Return the objects' boxes, int64 (k, boxes, 4): edges in pixels of the image, -1 where there is no box."""
        if "box_offset" not in self.group:
            return self._read("box", part)
        found = self._read_ragged("box", part)
        boxes = np.full((len(found), max(map(len, found), default=1), 4), -1, np.int64)
        for row, one in zip(boxes, found, strict=True):
            row[: len(one)] = one
        return boxes

    def masks(self, part: slice | Sequence[int] = slice(None)) -> np.ndarray | list[np.ndarray]:
        """Return the objects' masks, uint8 (k, 256, 256) of 0 and 1; of photographs a list of uint8 (h, w)."""
        if "mask_file" in self.group:
            contents = self._read_ragged("mask_file", part)
            return [decode_mask(content.tobytes(), f"{self.path}, a mask") for content in contents]
        return self._read("mask", part)

    def _read(self, name: str, part: slice | Sequence[int]) -> np.ndarray:
        if name not in self.group:
            raise CamstudyError(f"{self.path}: has no array `{name}`; it holds {', '.join(self.group)}")
        return self.group[name][part]


def open_dataset(manifest: str | Path, fixations: Sequence[str | Path] = ()) -> Dataset:
    """Open a finished dataset store, given its manifest; without images or labels it is a `CamstudyError`.

    ``fixations`` has the manifest of where people looked, `GAZE`, if that was corrected after the dataset was prepared.
    """
    group = open_store(manifest, require=("image", "label"))
    for corrected in fixations:
        group = overlaid(group, open_store(corrected, require=("image", *GAZE)))
    if "image_file" not in group and "pixels" not in group:
        raise CamstudyError(f"{group.path}: has neither `pixels` nor `image_file`; it holds {', '.join(group)}")
    return Dataset(group.path, group)
