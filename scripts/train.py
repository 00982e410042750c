"""Train or fine-tune one catalogue model; a killed run goes on after its last finished epoch."""

import csv
from pathlib import Path

from camstudy.core.provenance import read_json, write_json
from camstudy.models.load import weights_of
from camstudy.models.record import model_record
from camstudy.models.weights.checkpoints import save_model
from camstudy.pipeline.gpus import promised
from camstudy.pipeline.job import step, torch_device
from camstudy.training.run import train_entry
from camstudy.training.validation import selected

with step(snakemake) as run:
    entry = snakemake.config["catalog"]["models"][snakemake.wildcards.model]
    start, data = next(iter(snakemake.input.start), None), read_json(snakemake.input.dataset)
    origin = read_json(start) if start else None
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    processes = max(promised(snakemake.resources), 1) if device.type == "cuda" else 1
    # Beside the outputs but not one of them: Snakemake deletes the outputs of a failed job.
    checkpoint = Path(snakemake.output.model).with_name("checkpoint.pt")
    model, history = train_entry(
        entry,
        weights=str(weights_of(start)) if start else None,
        dataset=snakemake.input.dataset,
        threads=snakemake.threads,
        checkpoint=str(checkpoint),
        # Other weights or images may have come under the same identity.
        fingerprint=" ".join([snakemake.params.identity, origin["sha256"] if start else "", data["identity"]]),
        device=device,
        processes=processes,
    )
    save_model(model.cpu(), snakemake.output.model, {})
    # Without pandas, whose import takes longer than all others of this script.
    with Path(snakemake.output.history).open("w", newline="") as file:
        writer = csv.DictWriter(file, dict.fromkeys(key for epoch in history for key in epoch), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
    last = dict(selected(history, entry["train"]["select"]))
    run.note(device=str(device), processes=processes, images_per_second=last.pop("images_per_second"))
    run.note(seconds_of_last_epoch=last.pop("seconds"))
    training = {"dataset": entry["train"]["dataset"], "seed": entry["seed"]} | last
    record = model_record(model, entry, snakemake.params.identity, snakemake.output.model, training, origin)
    write_json(snakemake.output.record, record)
# Only now that the record of the run is there, too, is the training not made again.
checkpoint.unlink()
