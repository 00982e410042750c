"""Download one shard of a dataset and check every record of it; only a shard without a fault gets its name."""

from pathlib import Path

from camstudy.core.addresses import redact
from camstudy.core.download import fetch
from camstudy.core.errors import CamstudyError
from camstudy.core.identity import parts
from camstudy.core.provenance import write_json
from camstudy.data.formats.tfrecord import read_shard
from camstudy.pipeline.job import step

with step(snakemake):
    number, shard = int(snakemake.wildcards.shard), Path(snakemake.output.shard)
    stated = snakemake.config["catalog"]["datasets"][snakemake.wildcards.dataset]["shards"]
    url, pins = stated["url"].replace("{i}", str(number)), stated["sha256"] or []
    pin = pins[number] if number < len(pins) else None
    # Not the output itself, which Snakemake deletes when a job fails: the next attempt goes on where this one stopped.
    arriving = shard.with_name(f"{shard.name}.download")
    digest = fetch(url, arriving, pin)
    try:
        n = sum(1 for _ in read_shard(arriving))
    except CamstudyError as error:
        arriving.unlink()
        raise CamstudyError(f"{redact(url)} is damaged, nothing was kept: {error}") from None
    arriving.replace(shard)
    identity = snakemake.params.identity
    record = {"identity": identity, "accepted": parts(identity).get("accepted", ""), "sha256": digest, "records": n}
    write_json(snakemake.output.record, record | {"files": {shard.name: digest}})
    print(f"{n} records, sha256 {digest}" + ("" if pin else "; pin it in `shards.sha256` of the dataset"))
