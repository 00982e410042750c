"""Find the human ceiling of a dataset: as stated, or the mean agreement of two halves of the annotators."""

import json

import numpy as np

from camstudy.data.store import open_dataset
from camstudy.geometry import resample
from camstudy.job import logged
from camstudy.metrics.alignment import spearman
from camstudy.provenance import write_json

with logged(snakemake.log[0]):
    ceiling = json.loads(snakemake.params.ceiling)
    if ceiling == "from_halves":
        dataset = open_dataset(snakemake.input.dataset)
        rho = []
        for start in range(0, dataset.n, dataset.chunk):
            halves = dataset.human_half(slice(start, start + dataset.chunk))
            # Compared as heatmaps are, image by image.
            rho.append(spearman(resample(halves[:, 0]), resample(halves[:, 1])))
        ceiling = float(np.mean(np.concatenate(rho)))
    write_json(snakemake.output.ceiling, {"human_ceiling": ceiling})
