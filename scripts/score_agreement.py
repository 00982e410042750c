"""Score heatmaps against human maps in the square that the model saw: one row per image, one column per metric."""

import json

import numpy as np
import pandas as pd

from camstudy.data.store import open_dataset
from camstudy.explain.postprocess import apply
from camstudy.explain.store import read_heatmaps
from camstudy.geometry import resample
from camstudy.job import logged
from camstudy.metrics.alignment import degenerate, score_agreement

# Images compared at a time; float64 maps of 224x224 stay within 30 MB.
PART = 64

with logged(snakemake.log[0]):
    dataset = open_dataset(snakemake.input.dataset)
    maps, targets, attrs = read_heatmaps(snakemake.input.heatmaps)
    maps = apply(maps, json.loads(snakemake.params.postprocess))
    halves = attrs["reference"] == "human_half"
    columns = []
    for start in range(0, dataset.n, PART):
        part = slice(start, start + PART)
        human = dataset.human_half(part)[:, 1] if halves else dataset.human_map(part)
        human = resample(human, box=tuple(attrs["crop_box"]))
        columns.append(score_agreement(resample(maps[part]), human) | {"degenerate": degenerate(maps[part])})
    scores = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    frame = pd.DataFrame({"image": np.arange(dataset.n), "label": dataset.labels, "target": targets, **scores})
    frame.to_parquet(snakemake.output.scores, index=False)
