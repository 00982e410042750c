"""Classify a dataset with one model: one row per image."""

import json

import numpy as np
import pandas as pd

from camstudy.data.store import open_dataset
from camstudy.job import logged, torch_device
from camstudy.metrics.accuracy import score_accuracy
from camstudy.metrics.prediction import predict
from camstudy.models.build import input_config
from camstudy.models.load import load_model

with logged(snakemake.log[0]):
    entry = json.loads(snakemake.params.model)
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    dataset, model = open_dataset(snakemake.input.dataset), load_model(entry, snakemake.input.model).to(device)
    logits = predict(model, input_config(entry), dataset, snakemake.config["explain"]["batch_size"])
    columns = score_accuracy(logits, dataset.labels)
    frame = pd.DataFrame({"image": np.arange(dataset.n), "label": dataset.labels, **columns})
    frame.to_parquet(snakemake.output.scores, index=False)
