"""Explain every image of a dataset with one method and one model; chunks that a killed job left are kept."""

import json

from camstudy.data.store import open_dataset
from camstudy.explain.families import METHODS
from camstudy.explain.layers import resolve_target_layer
from camstudy.explain.run import explain_dataset
from camstudy.job import logged, torch_device
from camstudy.models.build import input_config
from camstudy.models.load import load_model
from camstudy.parts import part_slice
from camstudy.provenance import fingerprint, read_json, sha256_files

with logged(snakemake.log[0]):
    entry, method = json.loads(snakemake.params.model), json.loads(snakemake.params.method)
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    inputs = input_config(entry)
    model = load_model(entry, snakemake.input.model).to(device)
    layer = resolve_target_layer(model, entry["target_layer"], stage=method["stage"], size=inputs["size"])
    dataset, settings = open_dataset(snakemake.input.dataset), snakemake.config["explain"]
    images = part_slice(snakemake.wildcards.part, dataset.n, settings["chunk_size"])
    explain_dataset(
        snakemake.output.manifest,
        dataset,
        model,
        layer,
        inputs,
        method,
        images=images,
        settings=settings,
        attrs={
            **{name: snakemake.wildcards[name] for name in ("dataset", "model", "method")},
            "parameters": method["parameters"],
            "layer": layer.path,
            "target_policy": method["target"],
            "reference": METHODS[method["method"]].reference,
        },
        fingerprint=fingerprint(
            model=entry,
            method=method,
            images=[images.start, images.stop],
            weights=read_json(snakemake.input.record)["sha256"],
            data=read_json(snakemake.input.dataset)["fingerprint"],
            code=sha256_files(snakemake.input.code),
        ),
    )
