"""Aggregate how much of the maps survives randomisation: the mean with its interval per model, method and stage."""

import json

from camstudy.aggregate import Settings
from camstudy.job import logged
from camstudy.parts import read_tables
from camstudy.stages import summarize_stages

with logged(snakemake.log[0]):
    summarize_stages(
        read_tables(snakemake.params.maps, snakemake.input.stages),
        dataset=snakemake.params.dataset,
        settings=Settings.of(json.loads(snakemake.params.study)),
        protocol=snakemake.params.protocol,
    ).to_parquet(snakemake.output.stages, index=False)
