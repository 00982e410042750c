"""Make the maps of a control method, which needs no model."""

import numpy as np

from camstudy.core.geometry import FULL
from camstudy.core.identity import parts
from camstudy.core.ledger import table_of
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.photographs import NO_LABEL
from camstudy.explain.methods import METHODS, bind
from camstudy.explain.methods.files import note
from camstudy.explain.registry import separate
from camstudy.explain.store import heatmap_writer, stored_arrays
from camstudy.explain.targets import class_number
from camstudy.pipeline.job import step

with step(snakemake):
    method = snakemake.config["catalog"]["methods"][snakemake.wildcards.method]
    dataset = open_dataset(snakemake.input.dataset, snakemake.input.fixations)
    function = bind(method["method"], method["parameters"])
    shape = separate(function, function(np.arange(1), dataset.group))[0].shape[1:]
    # Tried on a class that each model chooses, it has none of its own.
    of_label = method["target"] == "label"
    number = class_number(method["target"], dataset.attrs.get("class_names"))
    targets = dataset.labels if of_label else np.full(dataset.n, NO_LABEL if number is None else number)
    writer = heatmap_writer(
        snakemake.output.manifest,
        shape=shape,
        arrays=stored_arrays(function, shape),
        chunk=snakemake.config["explain"]["chunk_size"],
        identity=snakemake.params.identity,
        names=dataset.names(),
        labels=dataset.labels,
        attrs={
            "images": [0, dataset.n, dataset.n],
            "dataset": snakemake.wildcards.dataset,
            "model": "control",
            "method": snakemake.wildcards.method,
            "parameters": dict(function.parameters),
            "layer": None,
            "target_policy": None if of_label else method["target"],
            "crop_box": FULL,
            "reference": METHODS[method["method"]].reference,
        },
    )
    for part in writer.pending():
        maps, arrays = separate(function, function(np.arange(part.start, part.stop), dataset.group))
        writer.write(part, heatmap=maps, target=targets[part], **arrays)
    if method["method"] == "files":
        content = parts(snakemake.params.identity).get("files", "")
        note(table_of(snakemake.output.manifest), function.parameters["path"], content)
    writer.finish()
