"""Draw a figure of a study from its scores."""

from camstudy.figures import FIGURES, save
from camstudy.job import logged
from camstudy.summary import read_inputs

with logged(snakemake.log[0]):
    figure = FIGURES[snakemake.wildcards.figure].function(
        read_inputs(dict(snakemake.input.items()), dict(snakemake.params.items()))
    )
    for path in snakemake.output:
        save(figure, path)
