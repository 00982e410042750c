"""Prepare a dataset of photographs of all sizes: files, labels or gaze, from what its distributors publish."""

import json
from functools import partial

from camstudy.data.clickme import select
from camstudy.data.gaze import GAZE, SIGMA, fixation_density
from camstudy.data.imagenet import read_imagenet
from camstudy.data.photographs import write_photographs
from camstudy.job import logged
from camstudy.provenance import fingerprint, sha256_files

with logged(snakemake.log[0]):
    entry, root, density = json.loads(snakemake.params.entry), snakemake.input.root, None
    if entry["source"] == "imagenet":
        files, photographs, class_names = read_imagenet(root, entry["num_classes"], entry["split"])
    else:
        files, photographs, class_names = *GAZE[entry["source"]](root), None
        density = partial(fixation_density, sigma=entry["sigma"] or SIGMA[entry["source"]])
    chosen = select(len(photographs), entry["n_images"], entry["sample_seed"])
    print(f"{len(photographs)} images in {root}, of which {len(chosen)} are prepared")
    write_photographs(
        snakemake.output.manifest,
        files,
        [photographs[position] for position in chosen],
        attrs={
            "dataset": snakemake.wildcards.dataset,
            "source": entry["source"],
            "source_records": len(photographs),
            "licence": entry["licence"],
            "human_maps": None if density is None else "recorded",
            "class_names": class_names,
        },
        # Sizes stand for contents, which would take as long to read as to prepare.
        fingerprint=fingerprint(
            entry=entry,
            files=[(photographs[position].name, files.sizes[photographs[position].name]) for position in chosen],
            code=sha256_files(snakemake.input.code),
        ),
        density=density,
    )
