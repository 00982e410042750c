"""Draw a figure of a study from its scores."""

from camstudy.figures import FIGURES, save
from camstudy.job import step
from camstudy.pipeline.shown import shown
from camstudy.summary import read_inputs

with step(snakemake):
    record = FIGURES[snakemake.wildcards.figure]
    inputs = read_inputs(snakemake.input, shown(snakemake.config, record), snakemake.config["published"])
    figure = record.function(inputs)
    for path in snakemake.output:
        save(figure, path)
