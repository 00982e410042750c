"""Find the human ceiling of a dataset: as stated, or the mean agreement of two halves of the annotators."""

import numpy as np

from camstudy.core.geometry import resample
from camstudy.core.provenance import write_json
from camstudy.data.dataset import open_dataset
from camstudy.metrics.agreement import spearman
from camstudy.pipeline.job import step

with step(snakemake):
    ceiling = snakemake.config["catalog"]["datasets"][snakemake.wildcards.dataset]["human_ceiling"]
    if ceiling == "from_halves":
        dataset = open_dataset(snakemake.input.dataset)
        rho = []
        for start in range(0, dataset.n, dataset.chunk):
            halves = dataset.human_half(slice(start, start + dataset.chunk))
            # Compared as heatmaps are, image by image.
            rho.append(spearman(resample(halves[:, 0]), resample(halves[:, 1])))
        ceiling = float(np.mean(np.concatenate(rho)))
    write_json(snakemake.output.ceiling, {"identity": snakemake.params.identity, "human_ceiling": ceiling})
