"""Fetch a model's starting weights: a file, a download, or timm's own; verified, then kept as safetensors."""

import json
import tempfile
from pathlib import Path

from torch.hub import download_url_to_file

from camstudy.job import logged
from camstudy.models.build import build_model, timm_pretrained_state
from camstudy.models.checkpoints import load_into, load_state, save_model

with logged(snakemake.log[0]), tempfile.TemporaryDirectory() as scratch:
    entry = json.loads(snakemake.params.entry)
    source = entry["weights"]
    if source.get("timm"):
        state = timm_pretrained_state(entry)
    else:
        path = source.get("path")
        if path is None:
            path = Path(scratch) / Path(source["url"]).name
            download_url_to_file(source["url"], str(path))
        state = load_state(path, key=source.get("key"), sha256=source.get("sha256"))
    model = build_model(entry, variants=False)
    load_into(model, state, where=str(source))
    save_model(model, snakemake.output.weights, {})
