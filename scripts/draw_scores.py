"""Draw a figure of a study from its scores."""

from camstudy.analysis.summary import read_inputs
from camstudy.figures import FIGURES, save
from camstudy.figures.about import simulated
from camstudy.figures.style import remark
from camstudy.figures.titles import drawable
from camstudy.pipeline.job import step
from camstudy.study.stated import stated_by
from camstudy.tables.counted import counted

with step(snakemake):
    record = FIGURES[snakemake.wildcards.figure]
    inputs = read_inputs(snakemake.input, stated_by(snakemake.config, record), snakemake.config["published"])
    figure = record.function(drawable(inputs))
    for text in ("" if "images" in record.sources else counted(inputs, record), simulated(inputs)):
        remark(figure, text)
    for path in snakemake.output:
        save(figure, path)
