"""Try a network on images masked by heatmaps: one row per image, one column per metric, and the curves beside them."""

import numpy as np
import pandas as pd
from tqdm import tqdm

from camstudy.claims import claim
from camstudy.data.store import open_dataset
from camstudy.explain.postprocess import apply
from camstudy.explain.store import Heatmaps
from camstudy.geometry import FULL, within
from camstudy.job import step, torch_device
from camstudy.metrics.alignment import degenerate
from camstudy.metrics.faithfulness import FAMILY, Protocol, asks_perturbation
from camstudy.metrics.probing import probe
from camstudy.metrics.registry import score_family
from camstudy.models.build import input_config
from camstudy.models.inputs import crop_boxes, prepare
from camstudy.models.load import load_model, placed, weights_of
from camstudy.parts import part_slice, write_scores
from camstudy.provenance import write_record

# Images on the device at a time; some 130 MB at 224x224, whatever the batch size.
STEP = 64

with step(snakemake) as run:
    catalog, names = snakemake.config["catalog"], snakemake.wildcards
    claim(snakemake.config, names.protocol)
    entry, stated = catalog["models"][names.model], catalog["protocols"][names.protocol]
    metrics, protocol = stated["metrics"], Protocol.of(stated)
    print(protocol)
    dataset, inputs = open_dataset(snakemake.input.dataset), input_config(entry)
    device = torch_device(snakemake.config["device"], snakemake.resources, snakemake.threads)
    model = placed(load_model(entry, weights_of(snakemake.input.model)), device)
    heatmaps, postprocess = Heatmaps(snakemake.input.heatmaps), catalog["methods"][names.method]["postprocess"]
    images, batch_size = part_slice(names.part, dataset.n), snakemake.config["explain"]["batch_size"]
    # Maps of the model cover what it saw; those of a control may cover more.
    own = heatmaps.attrs["model"] == names.model
    crops = crop_boxes(inputs, dataset.shapes)
    options = {"mean": inputs["mean"], "std": inputs["std"], "protocol": protocol}
    options["perturbation"] = asks_perturbation(metrics)
    scores, curves = [], []
    for start in tqdm(range(images.start, images.stop, STEP), "images", unit=f"x{STEP}", mininterval=10):
        part = slice(start, min(start + STEP, images.stop))
        maps, labels = apply(heatmaps.maps(part), postprocess), dataset.labels[part]
        seen, targets = prepare(dataset.images(part), inputs, device), heatmaps.targets(part)
        view = FULL if own else [*map(within, crops[part], heatmaps.boxes(part))]
        found, batch_size = probe(model, seen, maps, targets, labels, batch_size=batch_size, view=view, **options)
        about = {"image": np.arange(part.start, part.stop), "label": labels, "target": targets}
        flags = {"degenerate": degenerate(maps)}
        scores.append(pd.DataFrame(about | score_family(FAMILY, found, metrics=metrics) | flags))
        kept = {name: list(found[f"{name}_curve"].astype(np.float32)) for name in ("insertion", "deletion")}
        curves.append(pd.DataFrame(about | kept))
    write_scores(snakemake.output.scores, pd.concat(scores), dataset, images)
    write_scores(snakemake.output.curves, pd.concat(curves), dataset, images)
    files = snakemake.output.scores, snakemake.output.curves
    made_from = [snakemake.input.model, *snakemake.input.heatmaps]
    write_record(snakemake.output.record, snakemake.params.identity, *files, made_from=made_from)
    run.note(device=str(device), batch_size=batch_size)
