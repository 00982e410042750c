"""Count and measure what a model costs: parameters, multiply-adds, images per second, peak memory."""

from dataclasses import asdict

from camstudy.core.provenance import versions, write_json
from camstudy.models.build import input_config, parameter_count
from camstudy.models.cost import multiply_adds
from camstudy.models.speed import measure, network
from camstudy.pipeline.job import step, torch_device
from camstudy.study.claims import claim

with step(snakemake) as run:
    claim(snakemake.config, snakemake.wildcards.protocol)
    entry, stated = (
        snakemake.config["catalog"][f"{kind}s"][snakemake.wildcards[kind]] for kind in ("model", "protocol")
    )
    settings = {name: stated[name] for name in ("batch_size", "repeats")}
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    size, model = input_config(entry)["size"], network(entry, folded=False)
    record = {
        "identity": snakemake.params.identity,
        "parameters": parameter_count(model),
        "multiply_adds": asdict(multiply_adds(model, size)),
        "input_size": size,
        **measure(entry, size, device, **settings),
        "versions": versions("torch", "timm", "DCLS"),
    }
    write_json(snakemake.output.cost, record)
    run.note(device=str(device))
