"""Make one table of a study in four formats."""

from dataclasses import replace
from pathlib import Path

from camstudy.analysis.summary import read_inputs
from camstudy.pipeline.job import step
from camstudy.study.stated import stated_by
from camstudy.tables import TABLES
from camstudy.tables.counted import captioned, counted
from camstudy.tables.notes import random_weights, seen_in_training, skipped, versions
from camstudy.tables.render import RENDERERS

with step(snakemake):
    record = TABLES[snakemake.wildcards.table]
    inputs = read_inputs(snakemake.input, stated_by(snakemake.config, record), snakemake.config["published"])
    table = record.function(inputs)
    caption = captioned(table.caption, counted(inputs, record))
    notes = (*table.notes, *skipped(inputs), *random_weights(inputs), *seen_in_training(inputs), *versions(inputs))
    table = replace(table, caption=caption, notes=notes)
    for extension, path in snakemake.output.items():
        Path(path).write_text(RENDERERS[extension](table))
