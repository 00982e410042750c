"""Aggregate the scores of a study whose models have several seeds: means, paired differences, and their intervals."""

import pandas as pd

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.seeds import summarize_seeds
from camstudy.core.parts import read_tables, write_table
from camstudy.pipeline.job import step
from camstudy.study.protocols import chosen
from camstudy.study.seeds import replicated_pairs, replicates
from camstudy.study.stated import settings

with step(snakemake):
    config, families = snakemake.config, {}
    for (family, *key), frame in read_tables(snakemake.params.maps, snakemake.input.scores).items():
        families.setdefault(family, {})[tuple(key)] = frame
    about_models = read_tables([(model, "") for model in config["models"]], snakemake.input.prediction)
    of = replicates(config), replicated_pairs(config)
    with_settings = {"settings": Settings.of(settings(config))}
    tables = [
        summarize_seeds(frames, *of, dataset=config["dataset"], protocol=chosen(config)[family], **with_settings)
        for family, frames in families.items()
    ]
    where = config["prediction_dataset"] or config["dataset"]
    tables.append(summarize_seeds(about_models, *of, dataset=where, **with_settings))
    write_table(snakemake.output.seeds, pd.concat(tables, ignore_index=True), snakemake.params.identity)
