"""Aggregate the per-image scores of a study: means with confidence intervals, and paired comparisons."""

import json

import pandas as pd

from camstudy.aggregate import Settings, compare, summarize
from camstudy.job import logged
from camstudy.parts import read_tables
from camstudy.provenance import read_json

with logged(snakemake.log[0]):
    families = {}
    for (family, *key), frame in read_tables(snakemake.params.maps, snakemake.input.scores).items():
        families.setdefault(family, {})[tuple(key)] = frame
    about_models = read_tables([(model, "") for model in snakemake.params.models], snakemake.input.accuracy)
    ceiling = read_json(snakemake.input.ceiling)["human_ceiling"] if snakemake.input.ceiling else None
    where = {"ceiling": ceiling, "settings": Settings.of(json.loads(snakemake.params.study))}
    scores, comparisons = [], []
    for family, frames in families.items():
        on = where | {"dataset": snakemake.params.dataset, "protocol": snakemake.params.protocols[family]}
        scores.append(summarize(frames, **on))
        # Of correlations, those that tables show; of other families, all metrics.
        shown = ("alignment",) if family == "agreement" else None
        comparisons.append(compare(frames, snakemake.params.pairs, **on, metrics=shown))
    scores.append(summarize(about_models, dataset=snakemake.params.accuracy_dataset, **where))
    pd.concat(scores, ignore_index=True).to_parquet(snakemake.output.scores, index=False)
    pd.concat(comparisons, ignore_index=True).to_parquet(snakemake.output.comparisons, index=False)
