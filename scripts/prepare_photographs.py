"""Prepare a dataset of photographs of all sizes: files, labels or gaze, from what its distributors publish."""

import json
import time
from functools import partial

from camstudy.data.clickme import select
from camstudy.data.cub import read_cub
from camstudy.data.gaze import GAZE, SIGMA, fixation_density
from camstudy.data.imagenet import read_imagenet
from camstudy.data.photographs import write_photographs
from camstudy.data.voc import read_voc
from camstudy.job import logged
from camstudy.provenance import fingerprint, sha256_files, write_run_record

with logged(snakemake.log[0]):
    started = time.time()
    entry, root, density = json.loads(snakemake.params.entry), snakemake.input.root, None
    if entry["source"] == "imagenet":
        options = [entry[key] for key in ("num_classes", "split", "boxes")]
        files, photographs, class_names = read_imagenet(root, *options)
    elif entry["source"] == "voc2012":
        files, photographs, class_names = read_voc(root, entry["split"], entry["keep_difficult"])
    elif entry["source"] == "cub200":
        files, photographs, class_names = read_cub(root, entry["num_classes"], entry["split"])
    else:
        files, photographs, class_names = *GAZE[entry["source"]](root), None
        density = partial(fixation_density, sigma=entry["sigma"] or SIGMA[entry["source"]])
    chosen = select(len(photographs), entry["n_images"], entry["sample_seed"])
    print(f"{len(photographs)} images in {root}, of which {len(chosen)} are prepared")
    source_records, photographs = len(photographs), [photographs[position] for position in chosen]
    write_photographs(
        snakemake.output.manifest,
        files,
        photographs,
        attrs={
            "dataset": snakemake.wildcards.dataset,
            "source": entry["source"],
            "source_records": source_records,
            "licence": entry["licence"],
            "human_maps": None if density is None else "recorded",
            "class_names": class_names,
        },
        # Sizes stand for contents, which would take as long to read as to prepare.
        identity=fingerprint(
            entry=entry,
            files=[(item.name, files.sizes[item.name]) for item in photographs],
            boxes=[(item.label, None if item.boxes is None else item.boxes.tolist()) for item in photographs],
            code=sha256_files(snakemake.input.code),
        ),
        density=density,
    )
    write_run_record(snakemake.output.manifest, started, snakemake.config["study"])
