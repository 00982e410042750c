"""Aggregate the per-image scores of a study: means with confidence intervals, and paired comparisons."""

import json

import pandas as pd

from camstudy.aggregate import Settings, compare, summarize
from camstudy.job import logged
from camstudy.parts import by_key
from camstudy.provenance import read_json

with logged(snakemake.log[0]):
    keys = snakemake.params.maps + [(model, "") for model in snakemake.params.models]
    files = [*snakemake.input.agreement, *snakemake.input.accuracy]
    frames = {key: pd.concat(map(pd.read_parquet, parts)) for key, parts in by_key(keys, files).items()}
    settings = Settings.of(json.loads(snakemake.params.study))
    ceiling = read_json(snakemake.input.ceiling)["human_ceiling"]
    where = {"dataset": snakemake.params.dataset, "ceiling": ceiling, "settings": settings}
    about_maps = {key: frame for key, frame in frames.items() if key[1]}
    about_models = {key: frame for key, frame in frames.items() if not key[1]}
    on = where | {"dataset": snakemake.params.accuracy_dataset}
    scores = [summarize(about_maps, **where), summarize(about_models, **on)]
    pd.concat(scores, ignore_index=True).to_parquet(snakemake.output.scores, index=False)
    compare(frames, snakemake.params.pairs, **where, metrics=("alignment",)).to_parquet(
        snakemake.output.comparisons, index=False
    )
