"""Prepare a dataset: decode the records of its TFRecord shards into one chunked store."""

import json
from functools import partial

from camstudy.data.clickme import read_clickme
from camstudy.data.store import write_dataset
from camstudy.data.tfrecord import count_records
from camstudy.job import logged
from camstudy.provenance import fingerprint, sha256_file, sha256_files

with logged(snakemake.log[0]):
    entry, halves = json.loads(snakemake.params.entry), snakemake.params.halves
    shards = list(snakemake.input.shards)
    n = entry["n_images"] or sum(map(count_records, shards))
    read = partial(read_clickme, shards, num_classes=entry["num_classes"], threads=snakemake.threads)
    write_dataset(
        snakemake.output.manifest,
        lambda start: read(positions=range(start, n)),
        n=n,
        attrs={
            "dataset": snakemake.wildcards.dataset,
            "source": entry["source"],
            "licence": entry["licence"],
            "human_maps": entry["human_maps"],
            "class_names": entry["class_names"],
        },
        fingerprint=fingerprint(
            entry=entry, halves=halves, shards=list(map(sha256_file, shards)), code=sha256_files(snakemake.input.code)
        ),
        has_halves=halves,
    )
