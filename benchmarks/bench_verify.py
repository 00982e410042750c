"""What verified reading costs: a table of scores and a model with the comparison of their sha256, and without.

Then `camstudy verify`, which reads all that a study rests on, against the sha256 of the same bytes alone.
"""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file

from benchmarks.table import Row
from benchmarks.timing import interleave, one_thread, versus
from camstudy.core.parts import read_table, write_table
from camstudy.core.provenance import sha256_file, write_json
from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.models.load import weights_of
from camstudy.pipeline.verifying import damages


class Size(NamedTuple):
    rows: int
    weights: int
    images: int
    repeats: int


FULL, SMALL = Size(rows=500_000, weights=25_000_000, images=2048, repeats=5), Size(1000, 10_000, 8, 1)


def rows(small: bool = False) -> Iterator[Row]:
    """Yield a row for a table, for a model, and for all of a study with a store of maps at 224x224."""
    size = SMALL if small else FULL
    with tempfile.TemporaryDirectory() as folder, one_thread():
        records = [Path(folder, name) for name in ("scores.json", "model.json", "maps.json")]
        scores, model, _ = records
        table, weights = scores.with_suffix(".parquet"), model.with_suffix(".safetensors")
        _write(records, size)
        times = interleave({"a": lambda: read_table(table), "b": lambda: pd.read_parquet(table)}, size.repeats)
        yield versus("reading a table, with sha256 / without", times, "a", "b", "<= 2", _amount(table))
        times = interleave({"a": lambda: _load(weights_of(model)), "b": lambda: _load(weights)}, size.repeats)
        # Both without a wait for the disk: the system has just written the file, and keeps it in memory.
        yield versus("reading a model, with sha256 / without", times, "a", "b", "", _amount(weights))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        contestants = {"verify": lambda: [*damages(records)], "sha256": lambda: [*map(sha256_file, files)]}
        times = interleave(contestants, size.repeats)
        total = sum(path.stat().st_size for path in files) / 1e6
        speeds = [f"{total / statistics.median(times[name]):.0f}" for name in contestants]
        detail = f"{' / '.join(speeds)} MB/s, {total:.3g} MB in {len(files)} files"
        yield versus("camstudy verify / sha256 of the same bytes", times, "verify", "sha256", "<= 1.5", detail)


def _write(records: list[Path], size: Size) -> None:
    """Write a table, the weights of a model and a store of maps, each with its record."""
    rng = np.random.default_rng(0)
    frame = {name: rng.random(size.rows) for name in ("spearman", "pearson", "similarity")}
    write_table(records[0].with_suffix(".parquet"), pd.DataFrame({"image": np.arange(size.rows), **frame}), "f")
    weights = records[1].with_suffix(".safetensors")
    save_file({"w": torch.from_numpy(rng.random(size.weights, np.float32))}, weights)
    write_json(records[1], {"identity": "f", "files": {weights.name: sha256_file(weights)}})
    arrays = {"heatmap": ArraySpec("float32", (224, 224), ("y", "x"))}
    writer = StoreWriter(records[2], n=size.images, chunk=256, arrays=arrays, attrs={}, identity="f")
    for part in writer.pending():
        writer.write(part, heatmap=rng.random((part.stop - part.start, 224, 224), np.float32))
    writer.finish()


def _load(weights: Path) -> torch.Tensor:
    # The file is mapped, and read by who uses it.
    return load_file(weights)["w"].clone()


def _amount(file: Path) -> str:
    return f"{file.stat().st_size / 1e6:.3g} MB"
