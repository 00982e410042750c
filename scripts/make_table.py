"""Make one table of a study in four formats."""

from pathlib import Path

from camstudy.job import logged
from camstudy.summary import read_inputs
from camstudy.tables import TABLES
from camstudy.tables.render import RENDERERS

with logged(snakemake.log[0]):
    table = TABLES[snakemake.wildcards.table].function(
        read_inputs(dict(snakemake.input.items()), dict(snakemake.params.items()))
    )
    for extension, path in snakemake.output.items():
        Path(path).write_text(RENDERERS[extension](table))
