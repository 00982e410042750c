"""Accept finished results that Snakemake has no record of, where they are what is planned; list the others."""

import json
import os
import subprocess
import sys
import tempfile

from camstudy.core.plugins import load
from camstudy.pipeline.head import ACCEPTING, identified
from camstudy.pipeline.job import logged
from camstudy.pipeline.records import complaint, find_unrecorded
from camstudy.pipeline.results import results

with logged(snakemake.log[0]) as tell:
    load(snakemake.config.get("plugins", ()))
    study, identity, _ = identified(snakemake.config)
    found = find_unrecorded(results(study, identity))
    if found.equal:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(snakemake.config, file)
            file.flush()
            touch = [sys.executable, "-m", "snakemake", "--snakefile", snakemake.params.snakefile, "--profile", "none"]
            touch += ["--configfile", file.name, "--touch", "--force", "--quiet", "all", "--", *found.equal]
            subprocess.run(touch, check=True, env=os.environ | {ACCEPTING: "1"})
    tell(f"{len(found.equal)} results without a record are what is planned, and recorded now")
    if found.different:
        tell(complaint(found, most=len(found.different)))
