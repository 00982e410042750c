"""Randomise a model from the top and see what becomes of a method's maps: scores by image, and by image and stage."""

import numpy as np
import pandas as pd

from camstudy.core.parts import write_scores
from camstudy.core.provenance import write_record
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.clickme import select
from camstudy.explain.explainer import Explainer
from camstudy.metrics.randomization import randomize_explained
from camstudy.metrics.registry import score_family
from camstudy.metrics.sanity import FAMILY
from camstudy.models.load import weights_of
from camstudy.pipeline.job import step, torch_device
from camstudy.study.claims import claim

with step(snakemake) as run:
    claim(snakemake.config, snakemake.wildcards.protocol)
    kinds = ("model", "method", "protocol")
    entry, method, settings = (snakemake.config["catalog"][f"{kind}s"][snakemake.wildcards[kind]] for kind in kinds)
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    dataset = open_dataset(snakemake.input.dataset)
    explainer = Explainer.load(entry, method, weights_of(snakemake.input.model), device)
    images = select(dataset.n, min(settings["n_images"], dataset.n), settings["seed"])
    labels = explainer.labels(dataset)[images]
    found = randomize_explained(
        explainer,
        explainer.prepare(dataset.images(images)),
        labels,
        numbers=images,
        max_stages=settings["stages"],
        seed=settings["seed"],
        batch_size=snakemake.config["explain"]["batch_size"],
    )
    about = {"image": images, "label": labels, "target": found.target, "degenerate": found.degenerate}
    frame = pd.DataFrame(about | score_family(FAMILY, found.evidence, metrics=settings["metrics"]))
    write_scores(snakemake.output.scores, frame, dataset, images)
    count = len(found.stages)
    stages = {
        "image": np.repeat(images, count),
        "stage": np.tile(np.arange(1, count + 1), len(images)),
        "stage_name": np.tile(found.stages, len(images)),
    }
    for name in ("correlation", "correlation_absolute", "degenerate"):
        stages[name] = found.evidence[f"stage_{name}"].ravel()
    write_scores(snakemake.output.stages, pd.DataFrame(stages), dataset, images)
    files = snakemake.output.scores, snakemake.output.stages
    made_from = [snakemake.input.model]
    write_record(snakemake.output.record, snakemake.params.identity, *files, made_from=made_from)
    run.note(device=str(device))
