"""Aggregate the layer sweep of a study: mean alignment with its interval per model, method and stage."""

import json

from camstudy.aggregate import Settings, summarize
from camstudy.job import logged
from camstudy.parts import read_tables
from camstudy.provenance import read_json

with logged(snakemake.log[0]):
    layers = summarize(
        read_tables(snakemake.params.maps, snakemake.input.scores),
        dataset=snakemake.params.dataset,
        ceiling=read_json(snakemake.input.ceiling)["human_ceiling"],
        settings=Settings.of(json.loads(snakemake.params.study)),
        protocol=snakemake.params.protocol,
        metrics=("alignment",),
    )
    # Each method at a stage, by its name: the method and the stage.
    stages = snakemake.params.stages
    layers["stage"] = layers["method"].map(lambda name: stages[name][1])
    layers["method"] = layers["method"].map(lambda name: stages[name][0])
    layers.to_parquet(snakemake.output.layers, index=False)
