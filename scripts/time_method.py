"""Measure how long a method takes for an image, beside one forward pass of the model."""

from camstudy.core.provenance import versions, write_json
from camstudy.data.dataset import open_dataset
from camstudy.explain.explainer import Explainer
from camstudy.explain.timing import time_method
from camstudy.models.load import weights_of
from camstudy.pipeline.job import step, torch_device
from camstudy.study.claims import claim

with step(snakemake) as run:
    claim(snakemake.config, snakemake.wildcards.protocol)
    kinds = ("model", "method", "protocol")
    entry, method, stated = (snakemake.config["catalog"][f"{kind}s"][snakemake.wildcards[kind]] for kind in kinds)
    settings = {name: stated[name] for name in ("batch_size", "repeats", "seconds")}
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    dataset = open_dataset(snakemake.input.dataset)
    explainer = Explainer.load(entry, method, weights_of(snakemake.input.model), device)
    explainer = explainer.for_dataset(dataset, settings["batch_size"])
    first = slice(0, min(stated["images"] or stated["batch_size"], dataset.n))
    images = explainer.prepare(dataset.images(first))
    record = time_method(explainer, images, explainer.labels(dataset)[first], **settings)
    about = {"identity": snakemake.params.identity, "versions": versions("torch", "timm")}
    write_json(snakemake.output.timing, record | about)
    run.note(device=str(device))
