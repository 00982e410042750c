"""Print what the study would cost if it ran now: jobs, hours, disk and files by rule."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from camstudy.core.plugins import load
from camstudy.pipeline.head import PLANNING, identified
from camstudy.pipeline.pace import Pace, finished
from camstudy.pipeline.plan import folders, pending_jobs, plan, render

config, gpu = snakemake.config, snakemake.params.gpu
load(config.get("plugins", ()))
with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
    json.dump(config, file)
    file.flush()
    asked = subprocess.run(
        [
            *(sys.executable, "-m", "snakemake", "all", "--summary", "--snakefile", snakemake.params.snakefile),
            *("--profile", "none", "--rerun-triggers", "mtime", "params", "software-env"),
            *("--configfile", file.name),
        ],
        env=os.environ | {PLANNING: "1"},
        capture_output=True,
        text=True,
    )
Path(snakemake.log[0]).write_text(asked.stderr)
if asked.returncode:
    raise SystemExit(f"error: Snakemake cannot plan the study, see {snakemake.log[0]}")

study, *_ = identified(config)
outputs = snakemake.params.outputs
pace = Pace(finished(config, snakemake.params.benchmarks, study.expected_images).values(), gpu=gpu)
jobs = pending_jobs(asked.stdout.splitlines(), outputs)
rows = plan(config, jobs, pace, gpu=gpu, images_of=study.expected_images)
print(render(config["study"], rows, folders(rows, outputs)))
