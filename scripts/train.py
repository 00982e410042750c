"""Train or fine-tune one catalogue model; a killed run goes on after its last finished epoch."""

import json
from pathlib import Path

import pandas as pd

from camstudy.data.store import open_dataset
from camstudy.job import logged, torch_device
from camstudy.models.build import input_config
from camstudy.models.checkpoints import save_model
from camstudy.models.load import initial_model
from camstudy.models.record import model_record
from camstudy.provenance import fingerprint, read_json, sha256_file, sha256_files, write_json
from camstudy.training.data import TrainingLoader
from camstudy.training.loop import train

with logged(snakemake.log[0]):
    entry, weights = json.loads(snakemake.params.entry), snakemake.input.get("weights")
    recipe, seed = entry["train"], entry["train"]["seed"]
    device = torch_device(snakemake.resources, snakemake.threads)
    # On the CPU, loading beside training would only take threads away from it.
    workers = snakemake.threads - 1 if device.type == "cuda" else 0
    loader = TrainingLoader(open_dataset(snakemake.input.dataset), recipe, input_config(entry), seed, workers)
    # Beside the outputs but not one of them: Snakemake deletes the outputs of a failed job.
    checkpoint = Path(snakemake.output.model).with_name("checkpoint.pt")
    identity = fingerprint(
        entry=entry,
        weights=sha256_file(weights) if weights else None,
        data=read_json(snakemake.input.dataset)["fingerprint"],
        code=sha256_files(snakemake.input.code),
    )
    model, history = train(
        initial_model(entry, weights, seed),
        loader,
        recipe,
        seed=seed,
        device=device,
        checkpoint=checkpoint,
        fingerprint=identity,
    )
    save_model(model.cpu(), snakemake.output.model, {})
    pd.DataFrame(history).to_csv(snakemake.output.history, index=False)
    training = {"dataset": recipe["dataset"], "device": str(device), "seed": seed, **history[-1]}
    start = read_json(snakemake.input.start) if weights else None
    write_json(snakemake.output.record, model_record(model, entry, snakemake.output.model, training, start))
    checkpoint.unlink()
