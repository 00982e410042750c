"""A small finished study for tests of reading: two networks, maps of two methods, predictions and scores."""

from pathlib import Path

import numpy as np
import pandas as pd
from stores import CLASSES, squares, write_store

from camstudy.core.parts import write_scores
from camstudy.data.dataset import Dataset
from camstudy.explain.store import ATTRIBUTES, heatmap_writer

N = 20
FULL, CROP = [0.0, 0.0, 1.0, 1.0], [0.125, 0.125, 0.875, 0.875]
PARTS = ((0, 12), (12, N))


def write_maps(results: Path, dataset: Dataset, model: str, method: str, maps: np.ndarray, **options) -> np.ndarray:
    """Write maps (n, h, w), of which the stores may be divided into ``parts``; return them."""
    box, parts = np.asarray(options.get("box", FULL), float), options.get("parts", ((0, dataset.n),))
    attrs = dict.fromkeys(ATTRIBUTES) | {"dataset": dataset.path.stem, "model": model, "method": method}
    for start, stop in parts:
        part = "" if len(parts) == 1 else f"/{start:05d}-{stop - 1:05d}"
        writer = heatmap_writer(
            results / f"heatmaps/{dataset.path.stem}/{model}/{method}{part}.json",
            shape=maps.shape[1:],
            chunk=8,
            attrs=attrs | {"images": [start, stop, dataset.n], "crop_box": box.tolist() if box.ndim == 1 else None},
            identity="f",
            names=dataset.names()[start:stop],
            labels=dataset.labels[start:stop],
        )
        for chunk in writer.pending():
            source = slice(start + chunk.start, start + chunk.stop)
            seen = {"crop_box": box[source]} if box.ndim == 2 else {}
            writer.write(chunk, heatmap=maps[source], target=(dataset.labels[source] + 1) % CLASSES, **seen)
        writer.finish()
    return maps


def write_table(results: Path, dataset: Dataset, name: str, frame: pd.DataFrame, images: object = None) -> None:
    """Write scores of a model, or of one with a method, and their record."""
    path = results / f"scores/{dataset.path.stem}/{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_scores(path, frame, dataset, slice(0, dataset.n) if images is None else images)
    path.with_suffix(".json").write_text('{"identity": ""}')


def write_study(results: Path) -> dict:
    """Write all of it below ``results``; return the arrays."""
    (results / "data").mkdir(parents=True)
    dataset, rng = write_store(results / "data/squares.json", *squares(N)), np.random.default_rng(0)
    maps = {
        ("net", "gradcam"): write_maps(results, dataset, "net", "gradcam", rng.random((N, 6, 6), np.float32)),
        ("net", "rise"): write_maps(results, dataset, "net", "rise", rng.random((N, 5, 5), np.float32), parts=PARTS),
        ("cropped", "gradcam"): write_maps(
            results, dataset, "cropped", "gradcam", rng.random((N, 4, 4), np.float32), box=CROP
        ),
        ("cropped", "rise"): write_maps(
            results, dataset, "cropped", "rise", rng.random((N, 5, 5), np.float32), box=CROP, parts=PARTS
        ),
    }
    control = write_maps(results, dataset, "control", "random", rng.random((N, 8, 8), np.float32))
    known = {"dataset": dataset, "maps": maps, "control": control, "predicted": {}, "probability": {}, "spearman": {}}
    for model in ("net", "cropped"):
        predicted, probability = rng.integers(0, CLASSES, N), rng.random(N)
        frame = pd.DataFrame({"image": np.arange(N), "predicted": predicted, "probability": probability})
        write_table(results, dataset, f"{model}/prediction", frame)
        known["predicted"][model], known["probability"][model] = predicted, probability
        for method in ("gradcam", "rise"):
            scores = {"label": dataset.labels, "spearman": rng.random(N), "hit": pd.array([None, True] * 10, "boolean")}
            # Rows in another order than the images.
            frame = pd.DataFrame({"image": np.arange(N), **scores}).sample(frac=1, random_state=1)
            write_table(results, dataset, f"{model}/{method}/people", frame)
            known["spearman"][model, method] = scores["spearman"]
    return known
