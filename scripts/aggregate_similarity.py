"""Compare the maps of a study's compared models: mean rank correlation with its interval per pair and method."""

from camstudy.analysis.aggregate import Settings
from camstudy.analysis.counting import read_counting
from camstudy.analysis.similarity import summarize_similarity
from camstudy.core.parts import by_key, write_table
from camstudy.explain.store import Heatmaps
from camstudy.pipeline.job import step
from camstudy.study.stated import settings

with step(snakemake):
    params, config = snakemake.params, snakemake.config
    first = by_key(params.first_maps, snakemake.input.first)
    second = by_key(params.second_maps, snakemake.input.second)
    similarity = summarize_similarity(
        {key: (Heatmaps(first[key]), Heatmaps(second[key])) for key in first},
        config["catalog"]["methods"],
        dataset=config["dataset"],
        settings=Settings.of(settings(config), snakemake.input.items_of_maps),
        counting=read_counting(config, snakemake.input.correct),
    )
    write_table(snakemake.output.similarity, similarity, snakemake.params.identity)
