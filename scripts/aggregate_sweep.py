"""Aggregate the threshold sweep of a study: mean alignment with its interval per model, method and floor."""

import json

from camstudy.aggregate import Settings, summarize_sweep
from camstudy.job import logged
from camstudy.parts import read_tables
from camstudy.provenance import read_json

with logged(snakemake.log[0]):
    summarize_sweep(
        read_tables(snakemake.params.maps, snakemake.input.scores),
        dataset=snakemake.params.dataset,
        ceiling=read_json(snakemake.input.ceiling)["human_ceiling"],
        settings=Settings.of(json.loads(snakemake.params.study)),
        protocol=snakemake.params.protocol,
    ).to_parquet(snakemake.output.sweep, index=False)
