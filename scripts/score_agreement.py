"""Score heatmaps against human maps in the square that the model saw: one row per image, one column per metric."""

import numpy as np
import pandas as pd

from camstudy.core.geometry import resample, resample_in_boxes
from camstudy.core.parts import write_scores
from camstudy.core.provenance import write_record
from camstudy.data.dataset import open_dataset
from camstudy.explain.postprocess import apply
from camstudy.explain.store import Heatmaps
from camstudy.metrics.alignment import degenerate, score_agreement
from camstudy.pipeline.job import step
from camstudy.study.claims import claim

# Images compared at a time; float64 maps of 224x224 stay within 30 MB.
STEP = 64

with step(snakemake):
    claim(snakemake.config, snakemake.wildcards.protocol)
    catalog = snakemake.config["catalog"]
    metrics = catalog["protocols"][snakemake.wildcards.protocol]["metrics"]
    postprocess = catalog["methods"][snakemake.wildcards.method]["postprocess"]
    dataset, heatmaps = open_dataset(snakemake.input.dataset), Heatmaps(snakemake.input.heatmaps)
    halves = heatmaps.attrs["reference"] == "human_half"
    columns = []
    for start in range(0, dataset.n, STEP):
        part = slice(start, min(start + STEP, dataset.n))
        maps = apply(heatmaps.maps(part), postprocess)
        human = dataset.human_half(part)[:, 1] if halves else dataset.human_map(part)
        human = resample_in_boxes(human, heatmaps.boxes(part))
        found = score_agreement(resample(maps), human, metrics)
        columns.append(found | {"degenerate": degenerate(maps)})
    scores = {name: np.concatenate([part[name] for part in columns]) for name in columns[0]}
    about = {"label": dataset.labels, "target": heatmaps.targets()}
    frame = pd.DataFrame({"image": np.arange(dataset.n), **about, **scores})
    write_scores(snakemake.output.scores, frame, dataset, slice(0, dataset.n))
    files, made_from = [snakemake.output.scores], snakemake.input.heatmaps
    write_record(snakemake.output.record, snakemake.params.identity, *files, made_from=made_from)
