"""Aggregate the gaze scores of maps drawn again: the mean with its interval per model, method, fixations, heat size."""

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.counting import read_counting
from camstudy.analysis.redrawn import summarize_redrawn
from camstudy.core.parts import read_tables, write_table
from camstudy.pipeline.job import step
from camstudy.study.protocols import chosen
from camstudy.study.stated import settings

with step(snakemake):
    counting = read_counting(snakemake.config, snakemake.input.correct)
    redrawn = summarize_redrawn(
        counting.frames(read_tables(snakemake.params.maps, snakemake.input.scores, kind="redrawn")),
        dataset=snakemake.config["dataset"],
        protocol=chosen(snakemake.config)["redrawn"],
        settings=Settings.of(settings(snakemake.config), snakemake.input.items_of_maps),
    )
    write_table(snakemake.output.redrawn, redrawn, snakemake.params.identity)
