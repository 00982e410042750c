"""Export a pretrained demo network with a record of how it was made, ready to be copied to config/weights/."""

import shutil
from pathlib import Path

from camstudy.core.provenance import read_json, write_json
from camstudy.pipeline.job import step

with step(snakemake):
    shutil.copyfile(Path(snakemake.input.record).with_suffix(".safetensors"), snakemake.output.weights)
    record = read_json(snakemake.input.record)
    write_json(snakemake.output.record, {"made_by": "snakemake demo_weights", **record})
