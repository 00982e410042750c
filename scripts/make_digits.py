"""Make one TFRecord shard of the demo dataset, in ClickMe's own format: images, simulated click maps, labels, boxes."""

from tqdm import tqdm

from camstudy.core.provenance import sha256_file, write_json
from camstudy.data.digits import make_scene
from camstudy.data.formats.clickme import encode_example
from camstudy.data.formats.tfrecord import write_shard
from camstudy.data.sources.digits import SHARD_SIZE
from camstudy.pipeline.job import step

with step(snakemake):
    entry = snakemake.config["catalog"]["datasets"][snakemake.wildcards.dataset]
    first = int(snakemake.wildcards.shard) * SHARD_SIZE
    last = min(first + SHARD_SIZE, entry["n_images"])
    fixations = entry["fixations"]
    scenes = (make_scene(entry["split"], index, entry["seed"]) for index in tqdm(range(first, last), mininterval=10))
    write_shard(
        snakemake.output.shard,
        (
            encode_example(s.image, s.heatmap, s.label, s.halves, s.boxes, s.mask, s.fixations if fixations else None)
            for s in scenes
        ),
    )
    record = {"identity": snakemake.params.identity, "records": last - first}
    digest = sha256_file(snakemake.output.shard)
    files = {f"{snakemake.wildcards.shard}.tfrecord": digest}
    write_json(snakemake.output.record, record | {"sha256": digest, "files": files})
