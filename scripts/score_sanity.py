"""Randomise a model from the top and see what becomes of a method's maps: scores by image, and by image and stage."""

import json

import numpy as np
import pandas as pd

from camstudy.claims import claim
from camstudy.data.clickme import select
from camstudy.data.store import open_dataset
from camstudy.explain.explainer import Explainer
from camstudy.job import logged, torch_device
from camstudy.metrics.randomization import randomize_explained
from camstudy.metrics.registry import score_family
from camstudy.metrics.sanity import FAMILY
from camstudy.parts import write_scores

with logged(snakemake.log[0]):
    claim(snakemake.config, snakemake.wildcards.protocol)
    entry, method, settings = (json.loads(snakemake.params[name]) for name in ("model", "method", "settings"))
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    dataset = open_dataset(snakemake.input.dataset)
    explainer = Explainer.load(entry, method, snakemake.input.model, device)
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
