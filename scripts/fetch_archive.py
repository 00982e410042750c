"""Fetch an archive of photographs from its owners; only one that is whole, with the right checksum, gets its name."""

from pathlib import Path

from camstudy.core.identity import parts
from camstudy.core.provenance import write_json
from camstudy.data.archives import fetch_archive
from camstudy.pipeline.job import step
from camstudy.study.study import Study

with step(snakemake) as run:
    place, file, archive = snakemake.wildcards.archives, snakemake.wildcards.file, Path(snakemake.output.archive)
    found = Study(snakemake.config).archives[place][file]
    digest = fetch_archive(file, found.archive, archive, found.datasets)
    identity = snakemake.params.identity
    record = {"identity": identity, "accepted": parts(identity).get("accepted", ""), "sha256": digest}
    write_json(snakemake.output.record, record | {"bytes": archive.stat().st_size, "files": {archive.name: digest}})
    if not found.archive.sha256:
        run.tell(f"{file}: pin it with `archives.{file}.sha256: {digest}` of the dataset")
