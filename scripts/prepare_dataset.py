"""Prepare a dataset: decode the records of its TFRecord shards into one chunked store."""

from pathlib import Path

from camstudy.core.identity import parts
from camstudy.core.ledger import table_of
from camstudy.data.digits import ANNOTATORS, FIXATIONS, SIGMA
from camstudy.data.formats.clickme import select
from camstudy.data.formats.files import start
from camstudy.data.formats.shards import note_shards
from camstudy.data.sources import SOURCES
from camstudy.data.writing import write_dataset
from camstudy.pipeline.job import step

with step(snakemake):
    entry, manifest = snakemake.config["catalog"]["datasets"][snakemake.wildcards.dataset], snakemake.output.manifest
    # The workflow's own shards lie beside their records; others are where the entry says.
    made = [str(Path(record).with_suffix(".tfrecord")) for record in snakemake.input.shards]
    shards, source = made or entry["shards"], SOURCES[entry["source"]]
    noted = note_shards(shards, snakemake.input.shards)
    start(manifest, noted.digest)
    records = source.read(entry, shards)
    positions = select(records.n, entry["n_images"], entry.get("sample_seed"))
    # The demo's are simulated; other shards have none.
    gaze = "fixations" in source.truths(entry)
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
            **({"sigma": SIGMA} if gaze else {}),
        },
        identity=snakemake.params.identity,
        has_halves="human_halves" in source.has or entry["human_ceiling"] == "from_halves",
        threads=snakemake.threads,
        # A scene has one digit, as an item of a scene has.
        max_boxes=1 if "boxes" in source.truths(entry) else 0,
        label_sets=entry["num_classes"] if entry.get("label_sets") else 0,
        fixations=ANNOTATORS * FIXATIONS if gaze else 0,
        facts={"content": noted.record(table_of(manifest), parts(snakemake.params.identity).get("content", ""))},
    )
