"""Aggregate the scores of a study by right and wrong predictions, and its comparisons where both models are right."""

import pandas as pd

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.by_prediction import summarize_by_prediction
from camstudy.core.parts import read_tables, write_table
from camstudy.core.provenance import read_json
from camstudy.pipeline.job import step
from camstudy.study.protocols import chosen
from camstudy.study.stated import settings

with step(snakemake):
    config, families = snakemake.config, {}
    for (family, *key), frame in read_tables(snakemake.params.maps, snakemake.input.scores).items():
        families.setdefault(family, {})[tuple(key)] = frame
    predictions = read_tables([(model,) for model in config["models"]], snakemake.input.prediction)
    planned = {tuple(key) for _, *key in snakemake.params.maps}
    tables = [
        summarize_by_prediction(
            frames,
            [(pair["baseline"], pair["variant"]) for pair in config["comparisons"]],
            {model: frame for (model,), frame in predictions.items()},
            dataset=config["dataset"],
            ceiling=read_json(snakemake.input.ceiling[0])["human_ceiling"] if snakemake.input.ceiling else None,
            settings=Settings.of(settings(config), snakemake.input.items_of_maps),
            protocol=chosen(config)[family],
            metrics=("alignment",) if family == "agreement" else None,
            # Methods that cannot explain all models.
            partly=[name for name in config["methods"] if not {(m, name) for m in config["models"]} <= planned],
        )
        for family, frames in families.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    write_table(snakemake.output.by_prediction, table, snakemake.params.identity)
