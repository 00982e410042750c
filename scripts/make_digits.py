"""Make one TFRecord shard of the demo dataset, in ClickMe's own format: images, simulated click maps, labels, boxes."""

from tqdm import tqdm

from camstudy.core.provenance import sha256_file, write_json
from camstudy.data.digits import make_item, make_scene
from camstudy.data.formats.clickme import encode_example
from camstudy.data.formats.tfrecord import write_shard
from camstudy.data.sources.digits import SHARD_SIZE
from camstudy.pipeline.job import step

with step(snakemake):
    entry = snakemake.config["catalog"]["datasets"][snakemake.wildcards.dataset]
    first = int(snakemake.wildcards.shard) * SHARD_SIZE
    last = min(first + SHARD_SIZE, entry["n_images"])
    fixations = entry["fixations"]

    def example(index: int) -> dict:
        """Return a scene, or in multi-label data an item of one."""
        item = make_item(entry["split"], index, entry["seed"]) if entry["label_sets"] else None
        s = item.scene if item else make_scene(entry["split"], index, entry["seed"])
        about = (item.label_set, item.place) if item else ()
        gaze = s.fixations if fixations else None
        return encode_example(s.image, s.heatmap, s.label, s.halves, s.boxes, s.mask, gaze, *about)

    write_shard(snakemake.output.shard, map(example, tqdm(range(first, last), mininterval=10)))
    record = {"identity": snakemake.params.identity, "records": last - first}
    digest = sha256_file(snakemake.output.shard)
    files = {f"{snakemake.wildcards.shard}.tfrecord": digest}
    write_json(snakemake.output.record, record | {"sha256": digest, "files": files})
