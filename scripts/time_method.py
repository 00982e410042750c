"""Measure how long a method takes for an image, beside one forward pass of the model."""

import json
import time

from camstudy.claims import claim
from camstudy.data.store import open_dataset
from camstudy.explain.explainer import Explainer
from camstudy.explain.timing import time_method
from camstudy.job import logged, torch_device
from camstudy.provenance import versions, write_json, write_run_record

with logged(snakemake.log[0]):
    claim(snakemake.config, snakemake.wildcards.protocol)
    started = time.time()
    entry, method, settings = (json.loads(snakemake.params[name]) for name in ("model", "method", "settings"))
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    dataset = open_dataset(snakemake.input.dataset)
    explainer = Explainer.load(entry, method, snakemake.input.model, device)
    first = slice(0, min(settings["batch_size"], dataset.n))
    images = explainer.prepare(dataset.images(first))
    record = time_method(explainer, images, explainer.labels(dataset)[first], **settings)
    write_run_record(snakemake.output.timing, started, snakemake.config["study"])
    write_json(snakemake.output.timing, record | {"versions": versions("torch", "timm")})
