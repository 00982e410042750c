"""Assemble a catalogue model that is not trained: its starting weights with its variants applied."""

from camstudy.core.provenance import read_json, write_json
from camstudy.models.load import initial_model, weights_of
from camstudy.models.record import model_record, refuse_random_head
from camstudy.models.weights.checkpoints import save_model
from camstudy.pipeline.job import step

with step(snakemake):
    entry = snakemake.config["catalog"]["models"][snakemake.wildcards.model]
    start = next(iter(snakemake.input.start), None)
    origin = read_json(start) if start else None
    refuse_random_head(origin, f"{start}, weights of {snakemake.wildcards.model}")
    model = initial_model(entry, weights_of(start) if start else None, entry["seed"])
    save_model(model, snakemake.output.model, {})
    write_json(
        snakemake.output.record,
        model_record(model, entry, snakemake.params.identity, snakemake.output.model, start=origin),
    )
