"""Score heatmaps against human maps in the square that the model saw: one row per image, one column per metric."""

import json

import numpy as np
import pandas as pd

from camstudy.claims import claim
from camstudy.data.store import open_dataset
from camstudy.explain.postprocess import apply
from camstudy.explain.store import Heatmaps
from camstudy.geometry import resample, resample_in_boxes
from camstudy.job import logged
from camstudy.metrics.alignment import degenerate, score_agreement
from camstudy.parts import part_slice, write_scores

# Images compared at a time; float64 maps of 224x224 stay within 30 MB.
STEP = 64

with logged(snakemake.log[0]):
    claim(snakemake.config, snakemake.wildcards.protocol)
    settings, dataset = json.loads(snakemake.params.settings), open_dataset(snakemake.input.dataset)
    heatmaps, postprocess = Heatmaps(snakemake.input.heatmaps), json.loads(snakemake.params.postprocess)
    images = part_slice(snakemake.wildcards.part, dataset.n, snakemake.config["explain"]["chunk_size"])
    halves = heatmaps.attrs["reference"] == "human_half"
    columns = []
    for start in range(images.start, images.stop, STEP):
        part = slice(start, min(start + STEP, images.stop))
        maps = apply(heatmaps.maps(part), postprocess)
        human = dataset.human_half(part)[:, 1] if halves else dataset.human_map(part)
        human = resample_in_boxes(human, heatmaps.boxes(part))
        found = score_agreement(resample(maps), human, settings["metrics"])
        columns.append(found | {"degenerate": degenerate(maps)})
    scores = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    about = {"label": dataset.labels[images], "target": heatmaps.targets(images)}
    frame = pd.DataFrame({"image": np.arange(images.start, images.stop), **about, **scores})
    write_scores(snakemake.output.scores, frame, dataset, images)
