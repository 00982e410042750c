"""Train or fine-tune one catalogue model; a killed run goes on after its last finished epoch."""

import json
import time
from pathlib import Path

import pandas as pd

from camstudy.job import logged, torch_device
from camstudy.models.checkpoints import save_model
from camstudy.models.record import model_record
from camstudy.provenance import fingerprint, read_json, sha256_file, sha256_files, write_json, write_run_record
from camstudy.training.run import train_entry

with logged(snakemake.log[0]):
    started = time.time()
    entry, weights = json.loads(snakemake.params.entry), snakemake.input.get("weights")
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    processes = max(snakemake.resources.gpu, 1) if device.type == "cuda" else 1
    # Beside the outputs but not one of them: Snakemake deletes the outputs of a failed job.
    checkpoint = Path(snakemake.output.model).with_name("checkpoint.pt")
    model, history = train_entry(
        entry,
        weights=weights,
        dataset=snakemake.input.dataset,
        threads=snakemake.threads,
        checkpoint=str(checkpoint),
        fingerprint=fingerprint(
            entry=entry,
            weights=sha256_file(weights) if weights else None,
            data=read_json(snakemake.input.dataset)["identity"],
            code=sha256_files(snakemake.input.code),
        ),
        device=device,
        processes=processes,
    )
    save_model(model.cpu(), snakemake.output.model, {})
    pd.DataFrame(history).to_csv(snakemake.output.history, index=False)
    recipe, last = entry["train"], history[-1]
    run = {"device": str(device), "processes": processes, "images_per_second": last.pop("images_per_second")}
    run["seconds_of_last_epoch"] = last.pop("seconds")
    training = {"dataset": recipe["dataset"], "seed": entry["seed"]}
    start = read_json(snakemake.input.start) if weights else None
    record = model_record(model, entry, snakemake.output.model, training | last, start)
    write_run_record(snakemake.output.record, started, snakemake.config["study"], **run)
    write_json(snakemake.output.record, record)
    checkpoint.unlink()
