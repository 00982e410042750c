"""Aggregate how much of the maps survives randomisation: the mean with its interval per model, method and stage."""

from camstudy.aggregate import Settings
from camstudy.job import step
from camstudy.parts import read_tables
from camstudy.pipeline.shown import settings
from camstudy.protocols import chosen
from camstudy.stages import summarize_stages

with step(snakemake):
    summarize_stages(
        read_tables(snakemake.params.maps, snakemake.input.scores, kind="stages"),
        dataset=snakemake.config["dataset"],
        protocol=chosen(snakemake.config)["sanity"],
        settings=Settings.of(settings(snakemake.config)),
    ).to_parquet(snakemake.output.stages, index=False)
