"""Prepare a dataset: decode the records of its TFRecord shards into one chunked store."""

import json

from camstudy.core.ledger import table_of
from camstudy.data.clickme import select
from camstudy.data.files import start
from camstudy.data.shards import note_shards
from camstudy.data.sources import SOURCES
from camstudy.data.store import write_dataset
from camstudy.job import logged
from camstudy.provenance import fingerprint, sha256_files

with logged(snakemake.log[0]):
    entry, halves = json.loads(snakemake.params.entry), snakemake.params.halves
    manifest, content = snakemake.output.manifest, snakemake.params.content
    shards, source = json.loads(snakemake.params.shards), SOURCES[entry["source"]]
    noted = note_shards(shards, snakemake.input.get("records"))
    start(manifest, noted.digest)
    records = source.function(entry, shards)
    positions = select(records.n, entry["n_images"], entry.get("sample_seed"))
    print(f"{records.n} records in {len(shards)} shards, of which {len(positions)} are prepared")
    write_dataset(
        manifest,
        lambda part: records.read(positions[part]),
        n=len(positions),
        attrs={
            "dataset": snakemake.wildcards.dataset,
            "source": entry["source"],
            "source_records": records.n,
            "licence": entry["licence"],
            "human_maps": entry["human_maps"],
            "class_names": entry["class_names"],
        },
        fingerprint=fingerprint(
            entry=entry, halves=halves, shards=[*noted.hashes.values()], code=sha256_files(snakemake.input.code)
        ),
        has_halves=halves,
        threads=snakemake.threads,
        # A scene has one digit.
        max_boxes=1 if "boxes" in source.truths(entry) else 0,
        facts={"content": noted.record(table_of(manifest), content)},
    )
