"""Fetch a model's starting weights: a file, a download, or timm's own; verified, then kept as safetensors."""

import json
from pathlib import Path

from camstudy.job import logged
from camstudy.models.checkpoints import save_model
from camstudy.models.fetch import fetch_weights
from camstudy.provenance import write_json

with logged(snakemake.log[0]) as tell:
    name = snakemake.wildcards.model
    # Beside the outputs but not one of them: Snakemake deletes the outputs of a failed job, and a download can go on.
    folder = Path(snakemake.output.weights).with_suffix(".download")
    # The parameter has the address without what may be secret in it.
    weights = snakemake.config["catalog"]["models"][name]["weights"]
    model, record = fetch_weights(json.loads(snakemake.params.entry) | {"weights": weights}, folder)
    if not record["pinned"]:
        tell(f"{record['source']}: pin it with `catalog.models.{name}.weights.sha256: {record['sha256']}`")
    save_model(model, snakemake.output.weights, {})
    write_json(snakemake.output.record, record)
