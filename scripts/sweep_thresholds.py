"""Score stored heatmaps against human maps at every floor of the threshold sweep: a row per image and floor."""

import numpy as np
import pandas as pd

from camstudy.core.geometry import resample_in_boxes
from camstudy.core.parts import write_scores
from camstudy.core.provenance import write_record
from camstudy.data.dataset import open_dataset
from camstudy.explain.store import Heatmaps
from camstudy.metrics.sweep import sweep_floors
from camstudy.pipeline.job import step
from camstudy.study.claims import claim

# Images swept at a time; float32 maps of 224x224 at a dozen floors stay within 40 MB.
STEP = 16

with step(snakemake):
    claim(snakemake.config, snakemake.wildcards.protocol)
    floors = snakemake.config["catalog"]["protocols"][snakemake.wildcards.protocol]["floors"]
    dataset, heatmaps = open_dataset(snakemake.input.dataset), Heatmaps(snakemake.input.heatmaps)
    rho, degenerate = [], []
    for start in range(0, dataset.n, STEP):
        part = slice(start, min(start + STEP, dataset.n))
        human = resample_in_boxes(dataset.human_map(part), heatmaps.boxes(part))
        found = sweep_floors(heatmaps.maps(part), human, floors)
        rho.append(found[0])
        degenerate.append(found[1])
    rows, columns = np.mgrid[: dataset.n, : len(floors)].reshape(2, -1)
    frame = pd.DataFrame(
        {
            "image": rows.astype(np.int32),
            # No floor is NaN.
            "floor": np.array(floors, float)[columns],
            "spearman": np.concatenate(rho).ravel(),
            "degenerate": np.concatenate(degenerate).ravel(),
        }
    )
    write_scores(snakemake.output.scores, frame, dataset, slice(0, dataset.n))
    files, made_from = [snakemake.output.scores], snakemake.input.heatmaps
    write_record(snakemake.output.record, snakemake.params.identity, *files, made_from=made_from)
