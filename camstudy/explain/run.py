"""Explain a whole dataset, chunk by chunk, into a store from which a killed run goes on."""

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from camstudy.data.store import Dataset
from camstudy.explain.engine import explain, map_shape
from camstudy.explain.families import bind
from camstudy.explain.layers import TargetLayer
from camstudy.explain.store import heatmap_writer
from camstudy.models.inputs import crop_box, prepare
from camstudy.provenance import versions


def explain_dataset(
    manifest: str | Path,
    dataset: Dataset,
    model: nn.Module,
    layer: TargetLayer,
    inputs: Mapping,
    method: Mapping,
    *,
    settings: Mapping,
    attrs: Mapping,
    fingerprint: str,
) -> None:
    """Write the maps of one method for every image of a dataset.

    Parameters
    ----------
    manifest : JSON file written last; the store lies beside it
    dataset : images and labels
    model : classifier on the device that does the work
    layer : whose output is explained
    inputs : how images are prepared, from `camstudy.models.build.input_config`
    method : catalogue entry: registered ``method``, its ``parameters``, the ``target`` class
    settings : ``batch_size`` and ``chunk_size`` of the study's ``explain``; no map depends on them
    attrs : attributes of the store but for the crop box, which follows from ``inputs``
    fingerprint : identity of the maps; a partial store with the same one is completed
    """
    started = time.perf_counter()
    name, device = method["method"], next(model.parameters()).device
    writer = heatmap_writer(
        manifest,
        n=dataset.n,
        shape=map_shape(model, layer, inputs["size"]),
        chunk=settings["chunk_size"],
        attrs={**attrs, "crop_box": crop_box(inputs)},
        fingerprint=fingerprint,
    )
    function, labels, batch_size = bind(name, method["parameters"]), dataset.labels, settings["batch_size"]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    for part in tqdm(writer.pending(), "chunks", mininterval=10):
        found = explain(
            model,
            layer,
            prepare(dataset.images(part), inputs, device),
            labels[part],
            {name: function},
            target=method["target"],
            batch_size=batch_size,
        )
        writer.write(part, heatmap=found.maps[name], target=found.target)
        batch_size = found.batch_size
    writer.finish(
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        batch_size=batch_size,
        peak_memory_mb=round(torch.cuda.max_memory_allocated() / 2**20) if device.type == "cuda" else None,
        seconds=round(time.perf_counter() - started, 3),
        versions=versions("torch", "timm"),
    )
