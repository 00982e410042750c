"""Classify a dataset with one model: one row per image."""

import numpy as np
import pandas as pd
import torch

from camstudy.data.store import open_dataset
from camstudy.job import step, torch_device
from camstudy.metrics.accuracy import check_labels, score_accuracy
from camstudy.models.build import input_config
from camstudy.models.inputs import prepare
from camstudy.models.load import load_model, weights_of
from camstudy.parts import write_scores
from camstudy.provenance import write_record

with step(snakemake) as run:
    entry = snakemake.config["catalog"]["models"][snakemake.wildcards.model]
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    dataset, inputs = open_dataset(snakemake.input.dataset), input_config(entry)
    model = load_model(entry, weights_of(snakemake.input.model)).to(device)
    batch = snakemake.config["explain"]["batch_size"]
    logits = []
    with torch.inference_mode():
        for start in range(0, dataset.n, batch):
            images = prepare(dataset.images(slice(start, start + batch)), inputs, device)
            logits.append(model(images).float().cpu().numpy())
            check_labels(dataset.labels, logits[0].shape[1], str(dataset.path))
    columns = score_accuracy(np.concatenate(logits), dataset.labels)
    frame = pd.DataFrame({"image": np.arange(dataset.n), "label": dataset.labels, **columns})
    write_scores(snakemake.output.scores, frame, dataset, slice(0, dataset.n))
    write_record(snakemake.output.record, snakemake.params.identity, snakemake.output.scores)
    run.note(device=str(device), batch_size=batch)
