"""Classify a dataset with one model: one row per image, or per item of an image."""

import numpy as np
import pandas as pd

from camstudy.core.parts import write_scores
from camstudy.core.provenance import write_record
from camstudy.data.dataset import open_dataset
from camstudy.metrics.predicting import predict, predict_by_means
from camstudy.metrics.prediction import score_label_sets, score_prediction
from camstudy.models.build import input_config
from camstudy.models.load import load_model, placed, weights_of
from camstudy.models.probabilities import embeds, head_of
from camstudy.pipeline.job import step, torch_device

with step(snakemake) as run:
    entry = snakemake.config["catalog"]["models"][snakemake.wildcards.model]
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    model = placed(load_model(entry, weights_of(snakemake.input.model)), device)
    dataset = open_dataset(snakemake.input.dataset)
    answer = predict_by_means if embeds(entry) else predict
    logits = answer(model, input_config(entry), dataset, snakemake.config["explain"]["batch_size"])
    if head_of(entry) == "softmax":
        columns = score_prediction(logits, dataset.labels)
    else:
        columns = score_label_sets(logits, dataset.labels, dataset.label_sets)
    frame = pd.DataFrame({"image": np.arange(dataset.n), "label": dataset.labels, **columns})
    write_scores(snakemake.output.scores, frame, dataset, slice(0, dataset.n))
    files, made_from = [snakemake.output.scores], [snakemake.input.model]
    write_record(snakemake.output.record, snakemake.params.identity, *files, made_from=made_from)
    run.note(device=str(device))
