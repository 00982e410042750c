"""Writing a dataset store of records, shard after shard, from which a killed run goes on."""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from camstudy.core.errors import CamstudyError
from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.data.dataset import ATTRIBUTES
from camstudy.data.formats.clickme import MAP_SIZE, SIZE, Record, blur_human_map
from camstudy.data.formats.photographs import gaze_specs


def dataset_arrays(
    *,
    has_halves: bool,
    max_boxes: int = 0,
    has_classes: bool = True,
    fixations: np.ndarray | None = None,
    label_sets: int = 0,
) -> dict[str, ArraySpec]:
    """Return the arrays of a dataset store of records, those that not every source has included or left out.

    ``fixations`` are the offsets of each image's.
    """
    arrays = {
        "image": ArraySpec("str"),
        "pixels": ArraySpec("uint8", (SIZE, SIZE, 3), ("y", "x", "channel")),
        "label": ArraySpec("int64"),
        "human_map": ArraySpec("float32", (MAP_SIZE, MAP_SIZE), ("map_y", "map_x")),
    }
    if has_classes:
        arrays["class_name"] = ArraySpec("str")
    if has_halves:
        arrays["human_half"] = ArraySpec("float32", (2, MAP_SIZE, MAP_SIZE), ("half", "map_y", "map_x"))
    if max_boxes:
        arrays["box"] = ArraySpec("int64", (max_boxes, 4), ("object", "edge"))
        arrays["mask"] = ArraySpec("uint8", (SIZE, SIZE), ("y", "x"))
    if label_sets:
        arrays |= {"label_set": ArraySpec("int8", (label_sets,), ("class",)), "image_source": ArraySpec("int64")}
    return arrays if fixations is None else arrays | gaze_specs(fixations)


def write_dataset(
    manifest: str | Path,
    records: Callable[[slice], Iterable[Record]],
    *,
    n: int,
    attrs: Mapping[str, object],
    identity: str,
    has_halves: bool = False,
    max_boxes: int = 0,
    fixations: int = 0,
    label_sets: int = 0,
    facts: Mapping[str, object] | None = None,
    chunk: int = 64,
    threads: int = 1,
) -> None:
    """Prepare ``n`` records into the store of ``manifest``, one chunk per thread in memory at a time.

    A store that a killed job left behind is continued if it has the same identity, and wiped otherwise.

    Parameters
    ----------
    manifest : path of the JSON file that is written last; the store lies beside it
    records : returns the records of a slice of image numbers, so that finished ones are not decoded again; with
        several threads, it is called from all of them
    n : number of images
    attrs : attributes of the store, see `ATTRIBUTES`
    identity : a line of text that is the same as long as the content is
    has_halves : whether the records carry maps of two halves of the annotators
    max_boxes : the largest number of boxes of a record; 0 where records carry neither boxes nor masks
    fixations : those of each record; 0 where records carry none
    label_sets : the number of classes of multi-label data, whose records are items; 0 of other data
    facts : what the manifest says beside it
    chunk : images per chunk, the step in which an interrupted job resumes
    threads : chunks in the making at the same time; decoding, blurring and compressing run outside Python's lock

    Raises
    ------
    CamstudyError : a part has fewer records than images, or one lacks the halves, boxes, mask, fixations, label set or
        a name of its class.
    """
    missing = ATTRIBUTES - attrs.keys()
    if missing:
        raise ValueError(f"{manifest}: attributes {sorted(missing)} are missing")
    names = attrs["class_names"]
    edges = np.arange(n + 1) * fixations if fixations else None
    has = {"has_halves": has_halves, "max_boxes": max_boxes, "has_classes": bool(names), "label_sets": label_sets}
    arrays = dataset_arrays(**has, fixations=edges)
    writer = StoreWriter(manifest, n=n, chunk=chunk, arrays=arrays, attrs=attrs, identity=identity)

    def prepare(part: slice) -> None:
        batch = list(records(part))
        if len(batch) < part.stop - part.start:
            found = part.start + len(batch)
            raise CamstudyError(f"{manifest}: {n} images asked for, but the source has {found}; ask for fewer")
        truths = _objects(batch, max_boxes) | _gaze(batch, fixations) | _sets(batch, part.start, label_sets)
        writer.write(part, **_arrays(batch, has_halves), **_classes(batch, names), **truths)

    parts = writer.pending()
    interval = 0.1 if sys.stderr.isatty() else 30
    with ThreadPoolExecutor(threads) as pool:
        # Every chunk is a file of its own, so that threads do not meet; the first error cancels what has not begun.
        done = pool.map(prepare, parts)
        for _ in tqdm(done, Path(manifest).stem, len(parts), unit="chunk", mininterval=interval):
            pass
    writer.finish(**(facts or {}))


def _arrays(batch: list[Record], has_halves: bool) -> dict[str, np.ndarray]:
    values = {
        "image": [f"{Path(record.shard).name}#{record.index}" for record in batch],
        "pixels": np.stack([record.image for record in batch]),
        "label": np.array([record.label for record in batch], np.int64),
        "human_map": blur_human_map([record.heatmap for record in batch]),
    }
    if has_halves:
        for record in batch:
            if record.halves is None:
                where = f"{record.shard}, record {record.index}"
                raise CamstudyError(f"{where}: has no maps of two halves of its annotators")
        values["human_half"] = np.stack([blur_human_map(record.halves) for record in batch])
    return values


def _classes(batch: list[Record], names: Sequence[str] | None) -> dict[str, list[str]]:
    if not names:
        return {}
    for record in batch:
        if record.label >= len(names):
            where = f"{record.shard}, record {record.index}"
            raise CamstudyError(f"{where}: has label {record.label}, but `class_names` has {len(names)}; name them all")
    return {"class_name": [names[record.label] for record in batch]}


def _sets(batch: list[Record], start: int, classes: int) -> dict[str, np.ndarray]:
    if not classes:
        return {}
    sets = np.zeros((len(batch), classes), np.int8)
    for row, record in zip(sets, batch, strict=True):
        if record.label_set is None:
            raise CamstudyError(f"{record.shard}, record {record.index}: has no set of labels")
        row[record.label_set] = 1
    # The first records of the source are taken, so that none of an image's is missing before another.
    places = np.array([record.place for record in batch])
    return {"label_set": sets, "image_source": np.arange(start, start + len(batch)) - places}


def _objects(batch: list[Record], max_boxes: int) -> dict[str, np.ndarray]:
    if not max_boxes:
        return {}
    boxes = np.full((len(batch), max_boxes, 4), -1, np.int64)
    for row, record in zip(boxes, batch, strict=True):
        found = None if record.boxes is None or record.mask is None else len(record.boxes)
        if found is None or found > max_boxes:
            has = "no boxes or no mask" if found is None else f"{found} boxes, expected at most {max_boxes}"
            raise CamstudyError(f"{record.shard}, record {record.index}: has {has}")
        row[:found] = record.boxes
    return {"box": boxes, "mask": np.stack([record.mask for record in batch])}


def _gaze(batch: list[Record], count: int) -> dict[str, np.ndarray]:
    if not count:
        return {}
    for record in batch:
        found = 0 if record.fixations is None else len(record.fixations)
        if found != count:
            raise CamstudyError(f"{record.shard}, record {record.index}: has {found} fixations, expected {count}")
    observer, order, row, column, duration = np.concatenate([record.fixations for record in batch]).T
    return {
        "fixation": np.column_stack([row, column]),
        "observer": observer.astype(np.int16),
        "fixation_order": order.astype(np.int16),
        "fixation_duration": duration,
    }
