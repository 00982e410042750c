"""Average the curves of insertion and deletion over the images of a study."""

from camstudy.analysis.aggregate import mean_curves
from camstudy.analysis.counting import read_counting
from camstudy.core.parts import read_tables, write_table
from camstudy.pipeline.job import step
from camstudy.study.protocols import chosen

with step(snakemake):
    frames = read_tables(snakemake.params.maps, snakemake.input.scores, kind="curves")
    counting = read_counting(snakemake.config, snakemake.input.correct)
    curves = mean_curves(counting.frames(frames), protocol=chosen(snakemake.config)["faithfulness"])
    write_table(snakemake.output.curves, curves, snakemake.params.identity)
