"""Aggregate how much of the maps survives randomisation: the mean with its interval per model, method and step."""

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.steps import summarize_steps
from camstudy.core.parts import read_tables
from camstudy.pipeline.job import step
from camstudy.study.protocols import chosen
from camstudy.study.stated import settings

with step(snakemake):
    summarize_steps(
        read_tables(snakemake.params.maps, snakemake.input.scores, kind="steps"),
        dataset=snakemake.config["dataset"],
        protocol=chosen(snakemake.config)["sanity"],
        settings=Settings.of(settings(snakemake.config), snakemake.input.items_of_maps),
    ).to_parquet(snakemake.output.steps, index=False)
