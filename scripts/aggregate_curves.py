"""Average the curves of insertion and deletion over the images of a study."""

import pandas as pd

from camstudy.aggregate import mean_curves
from camstudy.job import logged
from camstudy.parts import by_key

with logged(snakemake.log[0]):
    files = by_key(snakemake.params.maps, snakemake.input.curves)
    frames = {key: pd.concat(map(pd.read_parquet, parts)) for key, parts in files.items()}
    mean_curves(frames).to_parquet(snakemake.output.curves, index=False)
