"""Average the curves of insertion and deletion over the images of a study."""

from camstudy.aggregate import mean_curves
from camstudy.job import logged
from camstudy.parts import read_tables

with logged(snakemake.log[0]):
    frames = read_tables(snakemake.params.maps, snakemake.input.curves)
    mean_curves(frames, protocol=snakemake.params.protocol).to_parquet(snakemake.output.curves, index=False)
