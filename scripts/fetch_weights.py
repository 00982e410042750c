"""Fetch a model's starting weights: a file, a download, or timm's own; verified, then kept as safetensors."""

from pathlib import Path

from camstudy.core import ledger
from camstudy.core.identity import parts
from camstudy.core.paths import expanded
from camstudy.core.provenance import sha256_file, write_json
from camstudy.models.weights.checkpoints import save_model
from camstudy.models.weights.fetch import fetch_weights
from camstudy.pipeline.job import step

with step(snakemake) as run:
    name, record_path = snakemake.wildcards.model, snakemake.output.record
    entry = snakemake.config["catalog"]["models"][name]
    places = [expanded(entry["weights"]["path"])] if "path" in entry["weights"] else []
    # Before the file is read: if it changes meanwhile, it has another time then.
    stats = ledger.survey(".", places)
    # Beside the outputs but not one of them: Snakemake deletes the outputs of a failed job, and a download can go on.
    model, record = fetch_weights(entry, Path(snakemake.output.weights).with_suffix(".download"))
    if not record["pinned"]:
        run.tell(f"{record['source']}: pin it with `catalog.models.{name}.weights.sha256: {record['sha256']}`")
    save_model(model, snakemake.output.weights, {})
    accepted = parts(snakemake.params.identity).get("accepted", "")
    if places:
        hashes = dict.fromkeys(places, record["sha256"])
        ledger.record(ledger.table_of(record_path), stats, hashes, places=places, text=accepted)
    files = {Path(snakemake.output.weights).name: sha256_file(snakemake.output.weights)}
    about = {"identity": snakemake.params.identity, "accepted": accepted, "files": files}
    write_json(record_path, record | about)
