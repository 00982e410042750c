"""Assemble a catalogue model that is not trained: its starting weights with its variants applied."""

import json
import time

from camstudy.job import logged
from camstudy.models.checkpoints import save_model
from camstudy.models.load import initial_model
from camstudy.models.record import model_record
from camstudy.provenance import read_json, write_json, write_run_record

with logged(snakemake.log[0]):
    started, entry = time.time(), json.loads(snakemake.params.entry)
    start = snakemake.input.get("start")
    model = initial_model(entry, snakemake.input.get("weights"), entry["seed"])
    save_model(model, snakemake.output.model, {})
    record = model_record(model, entry, snakemake.output.model, start=read_json(start) if start else None)
    write_run_record(snakemake.output.record, started, snakemake.config["study"])
    write_json(snakemake.output.record, record)
