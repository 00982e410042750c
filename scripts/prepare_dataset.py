"""Prepare a dataset: decode the records of its TFRecord shards into one chunked store."""

import json
from functools import partial

from camstudy.data.clickme import read_clickme
from camstudy.data.store import write_dataset
from camstudy.data.tfrecord import count_records
from camstudy.geometry import resample
from camstudy.job import logged
from camstudy.metrics.alignment import spearman
from camstudy.provenance import fingerprint, sha256_file, sha256_files


def agreement(first, second):
    """Return the Spearman correlation of two annotator halves, compared as models are, image by image."""
    return spearman(resample(first), resample(second))


with logged(snakemake.log[0]):
    entry = json.loads(snakemake.params.entry)
    shards = list(snakemake.input.shards)
    n = entry["n_images"] or sum(map(count_records, shards))
    from_halves = entry["human_ceiling"] == "from_halves"
    attrs = {
        "dataset": snakemake.wildcards.dataset,
        "source": entry["source"],
        "licence": entry["licence"],
        "human_maps": entry["human_maps"],
        "class_names": entry["class_names"],
    }
    read = partial(read_clickme, shards, num_classes=entry["num_classes"], threads=snakemake.threads)
    write_dataset(
        snakemake.output.manifest,
        lambda start: read(positions=range(start, n)),
        n=n,
        attrs=attrs if from_halves else attrs | {"human_ceiling": entry["human_ceiling"]},
        fingerprint=fingerprint(
            entry=entry, shards=list(map(sha256_file, shards)), code=sha256_files(snakemake.input.code)
        ),
        has_halves=from_halves,
        agreement=agreement if from_halves else None,
    )
