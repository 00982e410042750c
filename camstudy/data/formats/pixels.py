"""Images of one size whose files hold many of them: their pixels in one store, as `camstudy.data.dataset` says."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.data.formats.cifar import Records
from camstudy.data.formats.photographs import NO_LABEL, Photograph
from camstudy.data.sources import Collection

# 3 MB of 32x32 pixels.
CHUNK = 1024


def collection(records: Records, images: np.ndarray, labels: np.ndarray) -> Collection:
    """Return the images of a split, each called after its file and its place in it."""
    places = [(name, index) for name, count in records.counts.items() for index in range(count)]
    photographs = [
        Photograph(name, label, item=str(index)) for (name, index), label in zip(places, labels.tolist(), strict=True)
    ]
    return Collection(records.files, photographs, records.classes, pixels=images)


def write_pixels(
    manifest: str | Path,
    photographs: Sequence[Photograph],
    pixels: np.ndarray,
    *,
    attrs: Mapping[str, object],
    identity: str,
    facts: Callable[[], Mapping[str, object]] = dict,
    chunk: int = CHUNK,
) -> None:
    """Write images to the store of ``manifest``, a chunk at a time; a killed job's is continued.

    Parameters
    ----------
    manifest : path of the JSON file that is written last; the store lies beside it
    photographs : the images in their order; a name is that of the file, without folders, and the item in it
    pixels : uint8 (n, height, width, 3)
    attrs : attributes of the store, as for `camstudy.data.writing.write_dataset`
    identity : a line of text that is the same as long as the content is
    facts : returns what the manifest says beside it; called when all is written
    chunk : images per chunk, the step in which an interrupted job resumes
    """
    labels, names = [item.label for item in photographs], attrs["class_names"]
    fixed = {
        "image": (("image",), [f"{Path(item.name).name}#{item.item}" for item in photographs]),
        "label": (("image",), np.array(labels, np.int64)),
    }
    if names:
        fixed["class_name"] = (("image",), ["" if label == NO_LABEL else names[label] for label in labels])
    writer = StoreWriter(
        manifest,
        n=len(photographs),
        chunk=chunk,
        arrays={"pixels": ArraySpec("uint8", pixels.shape[1:], ("y", "x", "channel"))},
        attrs=attrs,
        identity=identity,
        fixed=fixed,
    )
    for part in writer.pending():
        writer.write(part, pixels=pixels[part])
    writer.finish(**facts())
