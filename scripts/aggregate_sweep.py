"""Aggregate the threshold sweep of a study: mean alignment with its interval per model, method and floor."""

from camstudy.aggregate import Settings, summarize_sweep
from camstudy.job import step
from camstudy.parts import read_tables
from camstudy.pipeline.shown import settings
from camstudy.provenance import read_json

with step(snakemake):
    summarize_sweep(
        read_tables(snakemake.params.maps, snakemake.input.scores),
        dataset=snakemake.config["dataset"],
        protocol=snakemake.config["sweep"]["protocol"],
        ceiling=read_json(snakemake.input.ceiling[0])["human_ceiling"],
        settings=Settings.of(settings(snakemake.config)),
    ).to_parquet(snakemake.output.sweep, index=False)
