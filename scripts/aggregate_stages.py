"""Aggregate how much of the maps survives randomisation: the mean with its interval per model, method and stage."""

import json

import pandas as pd

from camstudy.aggregate import Settings
from camstudy.job import logged
from camstudy.stages import summarize_stages

with logged(snakemake.log[0]):
    files = zip(snakemake.params.maps, snakemake.input.stages, strict=True)
    summarize_stages(
        {tuple(key): pd.read_parquet(path) for key, path in files},
        dataset=snakemake.params.dataset,
        settings=Settings.of(json.loads(snakemake.params.study)),
    ).to_parquet(snakemake.output.stages, index=False)
