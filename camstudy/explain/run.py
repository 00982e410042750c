"""Explain a whole dataset, chunk by chunk, into a store from which a killed run goes on."""

import math
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from camstudy.core.geometry import FULL
from camstudy.core.provenance import versions
from camstudy.data.dataset import Dataset
from camstudy.explain.engine import map_shape
from camstudy.explain.explainer import Explainer
from camstudy.explain.store import heatmap_writer, stored_arrays
from camstudy.models.inputs import crop_box, crop_boxes

# What decides the bits of maps.
PACKAGES = ("torch", "timm", "DCLS", "grad-cam")
# Images that are prepared together: a few chunks of a dataset. Those of a chunk of maps would take a lot of memory.
AT_ONCE = 128


def explain_dataset(
    manifest: str | Path,
    dataset: Dataset,
    explainer: Explainer,
    *,
    images: slice,
    settings: Mapping,
    attrs: Mapping,
    identity: str,
) -> dict[str, object]:
    """Write the maps of one method for a range of a dataset's images.

    Returns what is to be told of the run: ``device``, ``batch_size`` at the end, ``peak_memory_mb`` of a GPU, and
    ``seconds_per_image``, None for a run that found all chunks there.

    Parameters
    ----------
    manifest : JSON file written last; the store lies beside it
    dataset : images and labels
    explainer : the method with its model, on the device that does the work
    images : the range, all images or a part of them, from `camstudy.core.parts.part_slice`
    settings : ``batch_size`` and ``chunk_size`` of the study's ``explain``; no map depends on them
    attrs : attributes of the store but for the range and the crop box, which follows from input and image
    identity : a line of text that is the same as long as the maps are; a partial store with the same one is completed
    """
    started = time.perf_counter()
    explainer = explainer.for_dataset(dataset, settings["batch_size"])
    device, inputs = explainer.device, explainer.inputs
    labels, batch_size = explainer.labels(dataset), settings["batch_size"]
    authors = explainer.method["geometry"] == "authors"
    boxes = None if dataset.sizes is None else crop_boxes(inputs, dataset.sizes)
    shape = map_shape(explainer.model, explainer.layer, inputs["size"], explainer.bound)
    writer = heatmap_writer(
        manifest,
        shape=shape,
        arrays=stored_arrays(explainer.bound, shape),
        chunk=settings["chunk_size"],
        attrs={
            **attrs,
            "crop_box": (FULL if authors else crop_box(inputs)) if boxes is None else None,
            "images": [images.start, images.stop, dataset.n],
        },
        identity=identity,
        names=dataset.names(images),
        labels=dataset.labels[images],
    )
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    pending = writer.pending()
    # In whole batches, so that maps do not depend on it.
    at_once = batch_size * math.ceil(AT_ONCE / batch_size)
    for part in tqdm(pending, "chunks", mininterval=10):
        source = slice(images.start + part.start, images.start + part.stop)
        pieces: list[Mapping[str, np.ndarray]] = []
        for start in range(source.start, source.stop, at_once):
            numbers = range(start, min(start + at_once, source.stop))
            piece = slice(numbers.start, numbers.stop)
            maps, found = explainer.explain(
                explainer.prepare(dataset.images(piece)), labels[piece], numbers=numbers, batch_size=batch_size
            )
            batch_size = found.batch_size
            seen = {} if boxes is None else {"crop_box": boxes[piece]}
            arrays = found.arrays[explainer.method["method"]]
            pieces.append({"heatmap": maps, "target": found.target, **seen, **arrays})
        writer.write(part, **{name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]})
    writer.finish(versions=versions(*PACKAGES))
    explained = sum(part.stop - part.start for part in pending)
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "batch_size": batch_size,
        "peak_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20) if device.type == "cuda" else None,
        "seconds_per_image": round((time.perf_counter() - started) / explained, 6) if explained else None,
    }
