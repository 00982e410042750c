"""Download one shard of a dataset and check every record of it; only a shard without a fault gets its name."""

import json
from pathlib import Path

from camstudy.data.tfrecord import read_shard
from camstudy.download import fetch
from camstudy.errors import CamstudyError
from camstudy.job import logged
from camstudy.provenance import write_json

with logged(snakemake.log[0]):
    source, shard = json.loads(snakemake.params.source), Path(snakemake.output.shard)
    # Not the output itself, which Snakemake deletes when a job fails: the next attempt goes on where this one stopped.
    arriving = shard.with_name(f"{shard.name}.download")
    digest = fetch(source["url"], arriving, source["sha256"])
    try:
        n = sum(1 for _ in read_shard(arriving))
    except CamstudyError as error:
        arriving.unlink()
        raise CamstudyError(f"{source['url']} is damaged, nothing was kept: {error}") from None
    arriving.replace(shard)
    write_json(snakemake.output.record, {"sha256": digest, "records": n, "accepted": snakemake.params.accepted})
    print(f"{n} records, sha256 {digest}" + ("" if source["sha256"] else "; pin it in `shards.sha256` of the dataset"))
