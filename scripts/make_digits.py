"""Make one TFRecord shard of the demo dataset, in ClickMe's own format: images, simulated click maps, labels, boxes."""

import json

from tqdm import tqdm

from camstudy.data.clickme import encode_example
from camstudy.data.digits import make_scene
from camstudy.data.tfrecord import write_shard
from camstudy.job import logged
from camstudy.provenance import sha256_file, write_json

with logged(snakemake.log[0]):
    entry = json.loads(snakemake.params.entry)
    first = int(snakemake.wildcards.shard) * snakemake.params.shard_size
    last = min(first + snakemake.params.shard_size, entry["n_images"])
    scenes = (make_scene(entry["split"], index, entry["seed"]) for index in tqdm(range(first, last), mininterval=10))
    write_shard(
        snakemake.output.shard,
        (encode_example(s.image, s.heatmap, s.label, s.halves, s.boxes, s.mask) for s in scenes),
    )
    write_json(snakemake.output.record, {"sha256": sha256_file(snakemake.output.shard), "records": last - first})
