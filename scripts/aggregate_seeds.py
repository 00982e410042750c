"""Aggregate the scores of a study whose models have several seeds: means, paired differences, and their intervals."""

import pandas as pd

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.counting import read_counting
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
    # None of images without labels.
    models = [(model, "") for model in config["models"]] if snakemake.input.prediction else []
    about_models = read_tables(models, snakemake.input.prediction)
    of = replicates(config), replicated_pairs(config)
    about_maps = {
        "dataset": config["dataset"],
        "settings": Settings.of(settings(config), snakemake.input.items_of_maps),
        "counting": read_counting(config, snakemake.input.correct),
    }
    tables = [
        summarize_seeds(frames, *of, protocol=chosen(config)[family], **about_maps)
        for family, frames in families.items()
    ]
    of_all = Settings.of(settings(config), snakemake.input.items_predicted)
    where = config["prediction_dataset"] or config["dataset"]
    if about_models:
        tables.append(summarize_seeds(about_models, *of, dataset=where, settings=of_all))
    write_table(snakemake.output.seeds, pd.concat(tables, ignore_index=True), snakemake.params.identity)
