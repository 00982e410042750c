"""Damage to kinds of results that the tiny study has not: ragged stores, curves and steps, costs, weights, archives."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from camstudy.core.damage import set_aside
from camstudy.core.identity import digest
from camstudy.core.provenance import read_json, sha256_file, write_json, write_record
from camstudy.core.store import ArraySpec, StoreWriter
from camstudy.pipeline.verifying import damages

RAGGED = {"image_file": ("uint8", ()), "box": ("int32", (4,)), "fixation": ("float32", (3,))}
DIMS = {"image_file": (), "box": ("edge",), "fixation": ("what",)}
RECORDS = {
    "store": "results/data/photos.json",
    "scores": "results/scores/photos/net/rise/deep.json",
    "cost": "results/cost/speed/net.json",
    "weights": "results/weights/net.json",
    "archive": "results/raw/photos-0/images.tar.json",
}


def store(manifest, seed, identity=None):
    """Write a store of four images with ragged arrays, as of photographs with boxes and gaze."""
    rng = np.random.default_rng(seed)
    offsets = {name: np.concatenate([[0], np.cumsum(rng.integers(1, 40, 4))]) for name in RAGGED}
    arrays = {name: ArraySpec(kind, shape, DIMS[name], offsets=offsets[name]) for name, (kind, shape) in RAGGED.items()}
    fixed = {"image": (("image",), [f"{seed}-{number}.jpg" for number in range(4)])}
    writer = StoreWriter(manifest, n=4, chunk=2, arrays=arrays, attrs={}, identity=identity or f"i{seed}", fixed=fixed)
    for part in writer.pending():
        spans = {name: int(edges[part.stop] - edges[part.start]) for name, edges in offsets.items()}
        values = {name: rng.integers(0, 200, (spans[name], *shape)) for name, (_, shape) in RAGGED.items()}
        writer.write(part, **{name: each.astype(RAGGED[name][0]) for name, each in values.items()})
    writer.finish()


def make(folder, seed):
    """Write a result of each kind below a folder."""
    found = {kind: folder / record for kind, record in RECORDS.items()}
    for record in found.values():
        record.parent.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    store(found["store"], seed)
    tables = [found["scores"].with_suffix(f"{kind}.parquet") for kind in ("", ".curves", ".steps")]
    for table in tables:
        pd.DataFrame({"image": np.arange(40), "value": rng.random(40)}).to_parquet(table, index=False)
    write_record(found["scores"], f"i{seed}", *tables)
    write_json(found["cost"], {"identity": f"i{seed}", "parameters": 1000 + seed, "gmacs": 0.5})
    weights = found["weights"].with_suffix(".safetensors")
    save_file({"w": torch.from_numpy(rng.random(64))}, weights)
    write_json(found["weights"], {"identity": f"i{seed}", "sha256": "0" * 64, "files": _sums(weights)})
    archive = found["archive"].with_suffix("")
    archive.write_bytes(rng.bytes(3000))
    write_json(found["archive"], {"identity": f"i{seed}", "sha256": sha256_file(archive), "files": _sums(archive)})


def _sums(file):
    return {file.name: sha256_file(file)}


def faults(content, other):
    """Yield what damage makes of a file's content; None where it is gone."""
    yield "deleted", None
    yield "cut", content[: len(content) // 2]
    for position in (len(content) // 3, len(content) - 2):
        yield f"flipped at {position}", content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]
    if other != content:
        yield "exchanged", other


def test_the_list_of_files_from_outside_is_missed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = Path(RECORDS["store"])
    store(record, 0)
    write_json(record, {**read_json(record), "content": "0" * 16})
    table = record.with_suffix(".sources.jsonl")
    table.write_text("")
    assert list(damages([record])) == []
    table.unlink()
    table.symlink_to("nowhere")
    (found,) = damages([record])
    assert str(table) in str(found)
    set_aside(found)
    assert not record.exists()
    assert not table.is_symlink()


@pytest.mark.parametrize(
    ("kind", "identity", "is_listed"),
    [
        ("store", "code=explain_control:1,files:1", True),
        ("store", "code=explain_control:1,center:1", False),
        ("weights", f"code=fetch_weights:1 source={digest('file')}", True),
        ("weights", f"code=fetch_weights:1 source={digest('https://host.org/a.pth')}", False),
    ],
)
def test_the_list_of_control_maps_and_weights_is_missed(tmp_path, monkeypatch, kind, identity, is_listed):
    make(tmp_path, 0)
    monkeypatch.chdir(tmp_path)
    record = Path(RECORDS[kind])
    if kind == "store":
        store(record, 0, identity)
    else:
        write_json(record, {**read_json(record), "identity": identity})
    table = record.with_suffix(".sources.jsonl")
    assert [str(table) in str(found) for found in damages([record])] == [True] * is_listed
    table.write_text("")
    assert list(damages([record])) == []


def test_a_record_of_a_file_with_a_name_that_none_can_have_is_damaged(tmp_path, monkeypatch):
    make(tmp_path, 0)
    monkeypatch.chdir(tmp_path)
    record = Path(RECORDS["cost"])
    write_json(record, {**read_json(record), "files": {"x" * 256: "0" * 64}})
    assert [found.record for found in damages([record])] == [record]


def test_shards_of_the_workflow_are_in_no_list(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record = Path(RECORDS["store"])
    store(record, 0, "code=a shards=b")
    write_json(record, {**read_json(record), "content": "0" * 16})
    assert list(damages([record])) == []


@pytest.mark.parametrize("kind", RECORDS)
def test_each_is_noticed_named_and_set_aside(tmp_path, monkeypatch, kind):
    make(tmp_path / "here", 0)
    make(tmp_path / "there", 1)
    monkeypatch.chdir(tmp_path / "here")
    record = Path(RECORDS[kind])
    assert list(damages([record])) == []
    beside = sorted(path for path in record.parent.rglob("*") if path.is_file())
    # The flags of what is written are the writer's, and not read.
    read = [path for path in beside if "written" not in path.parts]
    read = [path for path in read if path.parts[-2:] != ("progress", "zarr.json")]
    cases, missed = 0, []
    for path in read:
        content, whole, other = path.read_bytes(), record.read_bytes(), tmp_path / "there" / path
        if path == record:
            # Of another place: what is sealed for this one is a result, though of another identity.
            write_json(other.with_name("elsewhere.json"), read_json(other))
            other = other.with_name("elsewhere.json")
        for what, damaged in faults(content, other.read_bytes()):
            if damaged is None and path == record:
                continue  # not made yet
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            found = [*damages([record])]
            cases += 1
            if not found or str(path).partition(".zarr")[0] not in str(found[0]):
                missed.append((str(path), what, found))
            for error in found:
                set_aside(error)
            # The next run makes the result anew, as its record is gone; what is damaged is in no reader's way.
            if record.exists() or (damaged is not None and path.exists() and ".zarr" not in str(path)):
                missed.append((str(path), what, "left"))
            for aside in [*record.parent.rglob("*.damaged")]:
                aside.rename(aside.with_suffix(""))
            path.write_bytes(content)
            record.write_bytes(whole)
    print(f"{kind}: {cases} cases, {len(missed)} missed")
    assert not missed
    assert cases >= 4
    assert list(damages([record])) == []
