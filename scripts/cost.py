"""Count and measure what a model costs: parameters, multiply-adds, images per second, peak memory."""

import json
import time
from dataclasses import asdict

from camstudy.claims import claim
from camstudy.job import logged, torch_device
from camstudy.metrics.cost import multiply_adds
from camstudy.models.build import input_config, parameter_count
from camstudy.models.speed import measure, network
from camstudy.provenance import versions, write_json, write_run_record

with logged(snakemake.log[0]):
    claim(snakemake.config, snakemake.wildcards.protocol)
    started = time.time()
    entry, settings = json.loads(snakemake.params.model), json.loads(snakemake.params.settings)
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    size, model = input_config(entry)["size"], network(entry, folded=False)
    record = {
        "parameters": parameter_count(model),
        "multiply_adds": asdict(multiply_adds(model, size)),
        "input_size": size,
        **measure(entry, size, device, **settings),
        "versions": versions("torch", "timm", "DCLS"),
    }
    write_run_record(snakemake.output.cost, started, snakemake.config["study"])
    write_json(snakemake.output.cost, record)
