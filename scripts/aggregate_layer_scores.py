"""Aggregate the layer sweep of a study by faithfulness: means with intervals per model, method, stage and metric."""

from camstudy.analysis.aggregate import Settings, summarize
from camstudy.analysis.counting import read_counting
from camstudy.core.parts import read_tables, write_table
from camstudy.pipeline.job import step
from camstudy.study.layers import layer_sweep
from camstudy.study.protocols import chosen
from camstudy.study.stated import settings

with step(snakemake):
    counting = read_counting(snakemake.config, snakemake.input.correct)
    layers = summarize(
        counting.frames(read_tables(snakemake.params.maps, snakemake.input.scores)),
        dataset=snakemake.config["dataset"],
        protocol=chosen(snakemake.config)["faithfulness"],
        ceiling=None,
        settings=Settings.of(settings(snakemake.config), snakemake.input.items_of_maps),
    )
    # Each method at a stage, by its name: the method and the stage.
    stages = layer_sweep(snakemake.config)
    layers["stage"] = layers["method"].map(lambda name: stages[name][1])
    layers["method"] = layers["method"].map(lambda name: stages[name][0])
    write_table(snakemake.output.layers, layers, snakemake.params.identity)
