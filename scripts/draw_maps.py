"""Draw a figure of a study from images and their maps."""

from camstudy.figures import FIGURES, save
from camstudy.figures.shown import read_shown
from camstudy.pipeline.job import step
from camstudy.study.seeds import shown_pairs

with step(snakemake):
    config, params = snakemake.config, snakemake.params
    keys = {"maps": params.maps, "scored": params.scored, "masked": params.masked}
    record, pairs = FIGURES[snakemake.wildcards.figure], shown_pairs(config)
    images, beside = read_shown(config, record, dict(snakemake.input.items()), keys, pairs)
    figure = record.function(*images, **beside)
    for path in snakemake.output:
        save(figure, path)
