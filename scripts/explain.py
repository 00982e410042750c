"""Explain every image of a dataset with one method and one model; chunks that a killed job left are kept."""

import json
import time

from camstudy.data.store import open_dataset
from camstudy.explain.explainer import Explainer
from camstudy.explain.families import METHODS
from camstudy.explain.run import explain_dataset
from camstudy.job import logged, torch_device
from camstudy.parts import part_slice
from camstudy.provenance import fingerprint, read_json, sha256_files, write_run_record

with logged(snakemake.log[0]):
    started = time.time()
    entry, method = json.loads(snakemake.params.model), json.loads(snakemake.params.method)
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    explainer = Explainer.load(entry, method, snakemake.input.model, device)
    dataset, settings = open_dataset(snakemake.input.dataset), snakemake.config["explain"]
    images = part_slice(snakemake.wildcards.part, dataset.n, settings["chunk_size"])
    facts = explain_dataset(
        snakemake.output.manifest,
        dataset,
        explainer,
        images=images,
        settings=settings,
        attrs={
            **{name: snakemake.wildcards[name] for name in ("dataset", "model", "method")},
            "parameters": method["parameters"],
            "layer": explainer.layer.path,
            "target_policy": method["target"],
            "reference": METHODS[method["method"]].reference,
        },
        identity=fingerprint(
            model=entry,
            method=method,
            images=[images.start, images.stop],
            weights=read_json(snakemake.input.record)["sha256"],
            data=read_json(snakemake.input.dataset)["identity"],
            code=sha256_files(snakemake.input.code),
        ),
    )
    write_run_record(snakemake.output.manifest, started, snakemake.config["study"], **facts)
