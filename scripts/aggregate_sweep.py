"""Aggregate the threshold sweep of a study: mean alignment with its interval per model, method and floor."""

from camstudy.analysis.aggregate import Settings, summarize_sweep
from camstudy.analysis.counting import read_counting
from camstudy.core.parts import read_tables, write_table
from camstudy.core.provenance import read_json
from camstudy.pipeline.job import step
from camstudy.study.stated import settings

with step(snakemake):
    counting = read_counting(snakemake.config, snakemake.input.correct)
    sweep = summarize_sweep(
        counting.frames(read_tables(snakemake.params.maps, snakemake.input.scores)),
        dataset=snakemake.config["dataset"],
        protocol=snakemake.config["sweep"]["protocol"],
        ceiling=read_json(snakemake.input.ceiling[0])["human_ceiling"],
        settings=Settings.of(settings(snakemake.config), snakemake.input.items_of_maps),
    )
    write_table(snakemake.output.sweep, sweep, snakemake.params.identity)
