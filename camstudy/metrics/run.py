"""Scores maps of a dataset by any family of metrics: batches, degenerate maps, metrics, and the files that result."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm import tqdm

from camstudy.core.errors import CamstudyError
from camstudy.core.parts import part_slice, write_scores
from camstudy.core.scaling import degenerate
from camstudy.data.formats.clickme import select
from camstudy.explain.postprocess import apply
from camstudy.metrics import families  # noqa: F401 - registers the metrics
from camstudy.metrics.registry import score_family
from camstudy.metrics.scoring import Batch, Evidence, Work

if TYPE_CHECKING:
    pass

Images = slice | np.ndarray  # positions in the dataset


def score(work: Work, scores: str | Path, part: str = "") -> list[Path]:
    """Score images and write a row for each, and the tables beside; return the files.

    Parameters
    ----------
    work : what to score
    scores : the Parquet file; tables beside it are `{scores}.{kind}.parquet`
    part : the dataset's images that a job takes, see `camstudy.core.parts`

    Raises `CamstudyError` for a part of a family that is not divided, and as the family does.
    """
    family, settings = work.family, {key: work.settings[key] for key in work.family.settings}
    print(f"{family.name}: {settings}")
    images = _images(work, part)
    positions = np.arange(work.dataset.n)[images]
    find, size = family.function(work), family.batch or len(positions)
    tables: dict[str, list[pd.DataFrame]] = {}
    for start in tqdm(range(0, len(positions), size), "images", unit=f"x{size}", mininterval=10):
        batch = _batch(work, images, positions[start : start + size])
        for kind, table in _tables(work, batch, find(batch)).items():
            tables.setdefault(kind, []).append(table)
    files = []
    for kind in ("", *family.beside):
        table = pd.concat(tables[kind])
        files.append(Path(scores).with_suffix(f".{kind}.parquet" if kind else ".parquet"))
        write_scores(files[-1], table, work.dataset, images)
    _report(pd.concat(tables[""]))
    return files


def _images(work: Work, part: str) -> Images:
    """Return the images that a job scores: of a part, a sample, or all."""
    family, n = work.family, work.dataset.n
    if part and not family.divided:
        raise CamstudyError(f"{part}: scores of {family.name} are not divided among jobs; ask for all of them")
    if family.sample:
        return select(n, min(work.settings[family.sample], n), work.settings["seed"])
    return part_slice(part, n)


def _batch(work: Work, images: Images, positions: np.ndarray) -> Batch:
    # Neighbors as a slice, which stores read faster.
    chosen = slice(int(positions[0]), int(positions[-1]) + 1) if isinstance(images, slice) else positions
    labels, heatmaps = work.dataset.labels[chosen], work.heatmaps
    if heatmaps is None:
        return Batch(chosen, labels)
    maps = heatmaps.maps(chosen)
    if "maps" in work.family.needs:
        maps = apply(maps, work.method["postprocess"])
    return Batch(chosen, labels, maps, heatmaps.targets(chosen), heatmaps.boxes(chosen))


def _tables(work: Work, batch: Batch, found: Evidence) -> dict[str, pd.DataFrame]:
    """Return the tables of a batch by kind, the scores under the name ""."""
    about = {"image": np.arange(work.dataset.n)[batch.images], "label": batch.labels}
    flags = {}
    if batch.maps is not None:
        about["target"] = batch.targets
        flags["degenerate"] = degenerate(batch.maps)
    tables = {"": _rows(about | flags | dict(found.columns)).join(_scores(work, found))}
    return tables | {kind: _rows(about | dict(columns)) for kind, columns in found.beside.items()}


def _scores(work: Work, found: Evidence) -> pd.DataFrame:
    """Return the metrics of single images, and what a metric of the whole dataset is made from in the end."""
    scores = score_family(work.family.name, found.arrays, found.parameters, work.metrics)
    if found.of is not None and found.counted is not None:
        means = pd.DataFrame(scores, index=found.of).groupby(level=0).mean()
        return means.reindex(range(len(found.counted)))
    frame = pd.DataFrame(scores | {name: list(found.arrays[name]) for name in work.kept})
    if found.counted is not None:
        frame = frame.reindex(range(len(found.counted)))  # there may be no column to tell how many rows there are
        frame = frame.astype(dict.fromkeys(frame.select_dtypes(bool).columns, "boolean"))
        frame.loc[~found.counted] = None
    return frame


def _rows(columns: Mapping[str, np.ndarray | Sequence]) -> pd.DataFrame:
    """Return a table with a row for each image, or where a column is (n, k), with k rows for each."""
    each = max(np.shape(values)[1] if _is_wide(values) else 1 for values in columns.values())
    return pd.DataFrame(
        {
            name: values.ravel() if _is_wide(values) else np.repeat(values, each) if each > 1 else values
            for name, values in columns.items()
        }
    )


def _is_wide(values: np.ndarray | Sequence) -> bool:
    return isinstance(values, np.ndarray) and values.ndim == 2


def _report(scores: pd.DataFrame) -> None:
    """Print for the log what does not count in full."""
    counts = {"degenerate maps": int(scores["degenerate"].sum())} if "degenerate" in scores else {}
    counts |= {name: int(scores[name].sum()) for name in scores if str(name).startswith("n_")}
    print(f"{len(scores)} rows", *(f"{name}: {count}" for name, count in counts.items()), sep="; ")
