"""Download one shard of a dataset and check every record of it; only a shard without a fault gets its name."""

import json
from pathlib import Path

from camstudy.addresses import redact
from camstudy.data.tfrecord import read_shard
from camstudy.download import fetch
from camstudy.errors import CamstudyError
from camstudy.job import logged

with logged(snakemake.log[0]):
    sha256, shard = json.loads(snakemake.params.source)["sha256"], Path(snakemake.output.shard)
    # The parameter has the address without what may be secret in it.
    pattern = snakemake.config["catalog"]["datasets"][snakemake.wildcards.dataset]["shards"]["url"]
    url = pattern.replace("{i}", snakemake.wildcards.shard)
    # Not the output itself, which Snakemake deletes when a job fails: the next attempt goes on where this one stopped.
    arriving = shard.with_name(f"{shard.name}.download")
    digest = fetch(url, arriving, sha256)
    try:
        n = sum(1 for _ in read_shard(arriving))
    except CamstudyError as error:
        arriving.unlink()
        raise CamstudyError(f"{redact(url)} is damaged, nothing was kept: {error}") from None
    arriving.replace(shard)
    print(f"{n} records, sha256 {digest}" + ("" if sha256 else "; pin it in `shards.sha256` of the dataset"))
