"""Write down the configuration of a study, with every default and what it uses of the catalogue."""

from pathlib import Path

import yaml

from camstudy.core.addresses import redact_text
from camstudy.pipeline.job import step
from camstudy.study.stated import resolved

with step(snakemake):
    text = yaml.safe_dump(resolved(snakemake.config), sort_keys=False, allow_unicode=True, width=120)
    Path(snakemake.output.config).write_text(redact_text(text))
