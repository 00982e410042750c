"""Score heatmaps against the boxes of objects in the square that the model saw: one row per image."""

import numpy as np
import pandas as pd

from camstudy.core.geometry import COMPARISON_SIZE, boxes_in_view, resample
from camstudy.core.parts import read_records, write_scores
from camstudy.core.provenance import write_record
from camstudy.data.dataset import open_dataset
from camstudy.explain.postprocess import apply
from camstudy.explain.store import Heatmaps
from camstudy.metrics.alignment import degenerate
from camstudy.metrics.localization import HITS, box_hits, has_boxes, score_localization
from camstudy.metrics.localization_protocol import parameters_of
from camstudy.pipeline.job import step
from camstudy.study.claims import claim

# Images compared at a time; float64 maps of 224x224 stay within 30 MB.
STEP = 64

with step(snakemake):
    claim(snakemake.config, snakemake.wildcards.protocol)
    catalog, predicted = snakemake.config["catalog"], snakemake.input.prediction
    settings = catalog["protocols"][snakemake.wildcards.protocol]
    postprocess = catalog["methods"][snakemake.wildcards.method]["postprocess"]
    dataset, heatmaps = open_dataset(snakemake.input.dataset), Heatmaps(snakemake.input.heatmaps)
    correct = read_records(predicted).sort_values("image")["top1"].to_numpy() if predicted else None
    sizes = dataset.shapes
    metrics, frames = settings["metrics"], []
    for start in range(0, dataset.n, STEP):
        part = slice(start, min(start + STEP, dataset.n))
        maps = apply(heatmaps.maps(part), postprocess)
        views = heatmaps.boxes(part)
        boxes, dropped = boxes_in_view(dataset.boxes(part), sizes[part], views, clip=settings["clip_boxes"])
        parameters = parameters_of(settings, sizes[part] * (views[:, 2:] - views[:, :2]) / COMPARISON_SIZE)
        seen, named = resample(maps), None if correct is None else correct[part]
        # With an index, as there may be no metric of single images.
        scores = pd.DataFrame(score_localization(seen, boxes, named, parameters, metrics), index=range(len(maps)))
        scores = scores.astype(dict.fromkeys(scores.select_dtypes(bool).columns, "boolean"))
        if "box_accuracy" in metrics:
            scores[HITS] = list(box_hits(seen, boxes, iou=settings["iou"], components=settings["components"]))
        scores.loc[~has_boxes(boxes)] = None
        about = {"image": np.arange(part.start, part.stop), "label": dataset.labels[part]}
        about |= {"target": heatmaps.targets(part), "degenerate": degenerate(maps)}
        about |= {"n_boxes": boxes.any(2).sum(1), "n_boxes_dropped": dropped}
        frames.append(pd.DataFrame(about).join(scores))
    frame = pd.concat(frames)
    lost, without = int(frame["n_boxes_dropped"].sum()), int((frame["n_boxes"] == 0).sum())
    print(f"{lost} boxes lie outside what the model saw; {without} of {len(frame)} images have no box and do not count")
    write_scores(snakemake.output.scores, frame, dataset, slice(0, dataset.n))
    files, made_from = [snakemake.output.scores], snakemake.input.heatmaps
    write_record(snakemake.output.record, snakemake.params.identity, *files, made_from=made_from)
