"""Aggregate the layer sweep of a study: mean alignment with its interval per model, method and stage."""

from camstudy.aggregate import Settings, summarize
from camstudy.config import layer_sweep
from camstudy.job import step
from camstudy.parts import read_tables
from camstudy.pipeline.shown import settings
from camstudy.protocols import chosen
from camstudy.provenance import read_json

with step(snakemake):
    layers = summarize(
        read_tables(snakemake.params.maps, snakemake.input.scores),
        dataset=snakemake.config["dataset"],
        protocol=chosen(snakemake.config)["agreement"],
        ceiling=read_json(snakemake.input.ceiling[0])["human_ceiling"],
        settings=Settings.of(settings(snakemake.config)),
        metrics=("alignment",),
    )
    # Each method at a stage, by its name: the method and the stage.
    stages = layer_sweep(snakemake.config)
    layers["stage"] = layers["method"].map(lambda name: stages[name][1])
    layers["method"] = layers["method"].map(lambda name: stages[name][0])
    layers.to_parquet(snakemake.output.layers, index=False)
