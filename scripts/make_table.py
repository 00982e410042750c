"""Make one table of a study in four formats."""

from dataclasses import replace
from pathlib import Path

from camstudy.analysis.summary import read_inputs
from camstudy.pipeline.job import step
from camstudy.pipeline.shown import shown
from camstudy.tables import TABLES
from camstudy.tables.notes import random_weights, versions
from camstudy.tables.render import RENDERERS

with step(snakemake):
    record = TABLES[snakemake.wildcards.table]
    inputs = read_inputs(snakemake.input, shown(snakemake.config, record), snakemake.config["published"])
    table = record.function(inputs)
    table = replace(table, notes=(*table.notes, *random_weights(inputs), *versions(inputs)))
    for extension, path in snakemake.output.items():
        Path(path).write_text(RENDERERS[extension](table))
