"""Print what the study would cost if it ran now: jobs, hours, disk and files by rule."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from camstudy.core.plugins import load
from camstudy.core.provenance import read_json
from camstudy.pipeline.head import PLANNING, identified
from camstudy.pipeline.plan import finished_jobs, folders, measured_factors, measured_rates, pending_jobs, plan, render

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

records = []
for path in Path("results").glob("heatmaps/*/*/**/*.run.json"):
    model, method = path.parts[3:5]
    records.append((("explain", model, method.removesuffix(".run.json")), read_json(path)))
for path in Path("results").glob("models/*/model.run.json"):
    if (record := read_json(path)).get("images_per_second"):
        record["seconds_per_image"] = 1 / record["images_per_second"]
    records.append((("train", path.parent.name), record))
rates, outputs = measured_rates(records, cpu=not gpu), snakemake.params.outputs
study, *_ = identified(config)
options = {"gpu": gpu, "images_of": study.expected_images}
paths = sorted(map(str, Path("results").glob("**/*.run.json")))
done = [(rule, wildcards, read_json(path)) for rule, wildcards, path in finished_jobs(paths, outputs)]
jobs, factors = pending_jobs(asked.stdout.splitlines(), outputs), measured_factors(config, done, **options)
rows = plan(config, jobs, rates, factors=factors, **options)
print(render(config["study"], rows, folders(rows, outputs)))
