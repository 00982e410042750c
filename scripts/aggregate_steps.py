"""Aggregate how much of the maps survives randomisation: the mean with its interval per model, method and step."""

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.counting import read_counting
from camstudy.analysis.steps import summarize_steps
from camstudy.core.parts import read_tables, write_table
from camstudy.pipeline.job import step
from camstudy.study.protocols import chosen
from camstudy.study.stated import settings

with step(snakemake):
    counting = read_counting(snakemake.config, snakemake.input.correct)
    steps = summarize_steps(
        counting.frames(read_tables(snakemake.params.maps, snakemake.input.scores, kind="steps")),
        dataset=snakemake.config["dataset"],
        protocol=chosen(snakemake.config)["sanity"],
        settings=Settings.of(settings(snakemake.config), snakemake.input.items_of_maps),
    )
    write_table(snakemake.output.steps, steps, snakemake.params.identity)
