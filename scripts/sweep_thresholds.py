"""Score stored heatmaps against human maps at every floor of the threshold sweep: a row per image and floor."""

import json

import numpy as np
import pandas as pd

from camstudy.claims import claim
from camstudy.data.store import open_dataset
from camstudy.explain.store import Heatmaps
from camstudy.geometry import resample_in_boxes
from camstudy.job import logged
from camstudy.metrics.sweep import sweep_floors
from camstudy.parts import part_slice, write_scores

# Images swept at a time; float32 maps of 224x224 at a dozen floors stay within 40 MB.
STEP = 16

with logged(snakemake.log[0]):
    claim(snakemake.config, snakemake.wildcards.protocol)
    dataset, floors = open_dataset(snakemake.input.dataset), json.loads(snakemake.params.settings)["floors"]
    heatmaps = Heatmaps(snakemake.input.heatmaps)
    images = part_slice(snakemake.wildcards.part, dataset.n, snakemake.config["explain"]["chunk_size"])
    rho, degenerate = [], []
    for start in range(images.start, images.stop, STEP):
        part = slice(start, min(start + STEP, images.stop))
        human = resample_in_boxes(dataset.human_map(part), heatmaps.boxes(part))
        found = sweep_floors(heatmaps.maps(part), human, floors)
        rho.append(found[0])
        degenerate.append(found[1])
    rows, columns = np.mgrid[images, : len(floors)].reshape(2, -1)
    frame = pd.DataFrame(
        {
            "image": rows.astype(np.int32),
            # No floor is NaN.
            "floor": np.array(floors, float)[columns],
            "spearman": np.concatenate(rho).ravel(),
            "degenerate": np.concatenate(degenerate).ravel(),
        }
    )
    write_scores(snakemake.output.scores, frame, dataset, images)
