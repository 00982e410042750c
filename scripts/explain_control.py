"""Make the maps of a control method, which needs no model."""

import json
import time

import numpy as np

from camstudy.data.store import open_dataset
from camstudy.explain import controls  # noqa: F401  (importing them registers them)
from camstudy.explain.registry import METHODS, bind
from camstudy.explain.store import heatmap_writer
from camstudy.geometry import FULL
from camstudy.job import logged
from camstudy.provenance import fingerprint, read_json, sha256_files, write_run_record

with logged(snakemake.log[0]):
    started, method = time.time(), json.loads(snakemake.params.method)
    dataset = open_dataset(snakemake.input.dataset)
    function = bind(method["method"], method["parameters"])
    shape = function(np.arange(1), dataset.group).shape[1:]
    writer = heatmap_writer(
        snakemake.output.manifest,
        shape=shape,
        chunk=snakemake.config["explain"]["chunk_size"],
        identity=fingerprint(
            method=method,
            data=read_json(snakemake.input.dataset)["identity"],
            code=sha256_files(snakemake.input.code),
        ),
        names=dataset.names(),
        labels=dataset.labels,
        attrs={
            "images": [0, dataset.n, dataset.n],
            "dataset": snakemake.wildcards.dataset,
            "model": "control",
            "method": snakemake.wildcards.method,
            "parameters": method["parameters"],
            "layer": None,
            "target_policy": None,
            "crop_box": FULL,
            "reference": METHODS[method["method"]].reference,
        },
    )
    for part in writer.pending():
        maps = function(np.arange(part.start, part.stop), dataset.group)
        writer.write(part, heatmap=maps, target=dataset.labels[part])
    writer.finish()
    write_run_record(snakemake.output.manifest, started, snakemake.config["study"])
