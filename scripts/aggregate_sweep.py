"""Aggregate the threshold sweep of a study: mean alignment with its interval per model, method and floor."""

import json

import pandas as pd

from camstudy.aggregate import Settings, summarize_sweep
from camstudy.job import logged
from camstudy.parts import by_key
from camstudy.provenance import read_json

with logged(snakemake.log[0]):
    files = by_key(snakemake.params.maps, snakemake.input.scores)
    summarize_sweep(
        {key: pd.concat(map(pd.read_parquet, parts)) for key, parts in files.items()},
        dataset=snakemake.params.dataset,
        ceiling=read_json(snakemake.input.ceiling)["human_ceiling"],
        settings=Settings.of(json.loads(snakemake.params.study)),
    ).to_parquet(snakemake.output.sweep, index=False)
