"""Prepare a dataset: decode the records of its TFRecord shards into one chunked store."""

import json
import time

from camstudy.data.clickme import ClickMe, select
from camstudy.data.store import write_dataset
from camstudy.job import logged
from camstudy.provenance import fingerprint, sha256_file, sha256_files, write_run_record

with logged(snakemake.log[0]):
    started = time.time()
    entry, halves = json.loads(snakemake.params.entry), snakemake.params.halves
    shards = json.loads(snakemake.params.shards)
    source = ClickMe(shards, num_classes=entry["num_classes"])
    positions = select(source.n, entry["n_images"], entry.get("sample_seed"))
    print(f"{source.n} records in {len(shards)} shards, of which {len(positions)} are prepared")
    write_dataset(
        snakemake.output.manifest,
        lambda part: source.read(positions[part]),
        n=len(positions),
        attrs={
            "dataset": snakemake.wildcards.dataset,
            "source": entry["source"],
            "source_records": source.n,
            "licence": entry["licence"],
            "human_maps": entry["human_maps"],
            "class_names": entry["class_names"],
        },
        identity=fingerprint(
            entry=entry, halves=halves, shards=list(map(sha256_file, shards)), code=sha256_files(snakemake.input.code)
        ),
        has_halves=halves,
        threads=snakemake.threads,
        # A scene has one digit; ClickMe's own shards have no boxes.
        max_boxes=1 if entry["source"] == "digits" else 0,
    )
    write_run_record(snakemake.output.manifest, started, snakemake.config["study"])
