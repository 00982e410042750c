"""ClickMe by URL: shards arrive checked or not at all, and become one dataset."""

import json

import numpy as np
import pytest
import zarr
from conftest import TINY, Project

from camstudy.core.provenance import read_json, sha256_file
from camstudy.data.formats.clickme import encode_example, select
from camstudy.data.formats.tfrecord import record_offsets, write_shard

COUNTS = (5, 3, 4)


@pytest.fixture
def project(tmp_path):
    """A project and, elsewhere, shards to download: record k has label k and one grey level."""
    (tmp_path / "project").mkdir()
    project, number = Project(tmp_path / "project"), 0
    for shard, count in enumerate(COUNTS):
        levels = [np.full((256, 256, 3), 20 * (number + i), np.uint8) for i in range(count)]
        examples = [encode_example(image, image[..., 0], number + i) for i, image in enumerate(levels)]
        write_shard(tmp_path / f"server/val-{shard}.tfrecords", examples)
        number += count
    return project


def study(project, **entry):
    url = f"file://{project.path.parent}/server/val-{{i}}.tfrecords"
    shards = {"url": url, "count": 3, **entry.pop("shards", {})}
    people = {"source": "clickme", "shards": shards, "human_ceiling": None, **entry}
    datasets = {**TINY["catalog"]["datasets"], "people": people}
    project.write_study({**TINY, "catalog": {**TINY["catalog"], "datasets": datasets}})


def test_shards_are_fetched_once_and_prepared_together(project):
    study(project, n_images=6, sample_seed=3)
    project.run("results/data/people.json")
    group = zarr.open_group(project.path / "results/data/people.zarr", mode="r")
    chosen = select(sum(COUNTS), 6, 3)
    assert chosen.tolist() != list(range(6))
    assert group["label"][:].tolist() == chosen.tolist()
    assert np.abs(group["pixels"][:, 100, 100, 0].astype(int) - 20 * chosen).max() <= 1
    assert group.attrs["source_records"] == sum(COUNTS)
    manifest = (project.path / "results/data/people.json").read_text()
    assert json.loads(manifest)["n_images"] == 6
    raw = project.path / "results/raw/people"
    assert sorted(path.name for path in raw.iterdir()) == [
        f"{shard}.{kind}" for shard in range(3) for kind in ("json", "run.json", "tfrecord")
    ]
    digest = sha256_file(raw / "1.tfrecord")
    record = read_json(raw / "1.json")
    assert (record["sha256"], record["records"], record["accepted"]) == (digest, 3, "")
    log = (project.path / "results/logs/fetch_shard/people-1.log").read_text()
    assert f"3 records, sha256 {digest}; pin it" in log

    # Another number of images takes the shards that are there.
    study(project, n_images=None)
    output = project.run("--dry-run", "results/data/people.json").stdout
    assert "Prepare people" in output
    assert "Fetch" not in output
    # Pinning the checksum that a shard has fetches nothing anew; another one is checked on the shard it belongs to.
    study(project, n_images=6, sample_seed=3, shards={"sha256": [None, digest]})
    done = project.run("--dry-run", "results/data/people.json")
    assert "Nothing to be done" in done.stdout + done.stderr
    study(project, n_images=6, sample_seed=3, shards={"sha256": [None, "0" * 64]})
    done = project.run("results/data/people.json", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Fetch and verify shard 1 of people" in output
    assert "shard 0" not in output
    assert f"expected {'0' * 64}" in output


def test_bad_shards_are_named_and_not_kept(project):
    server = project.path.parent / "server"
    offset = int(record_offsets(server / "val-1.tfrecords")[2])
    data = bytearray((server / "val-1.tfrecords").read_bytes())
    data[offset + 40] ^= 1
    (server / "val-1.tfrecords").write_bytes(data)
    study(project, shards={"count": 4, "sha256": [None, None, "0" * 64]})
    done = project.run("--keep-going", "results/data/people.json", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert f"{server}/val-1.tfrecords is damaged, nothing was kept: " in output
    assert f"record 2 at byte {offset}: the CRC of its data is wrong" in output
    assert f"{server}/val-2.tfrecords" in output
    assert f"expected {'0' * 64}" in output
    assert f"{server}/val-3.tfrecords" in output
    assert "Traceback" not in output
    kept = [path.name for path in (project.path / "results/raw/people").iterdir()]
    assert [name for name in kept if name.endswith(".tfrecord")] == ["0.tfrecord"]
    assert not (project.path / "results/data").exists()


def test_few_images_take_few_shards(project):
    study(project, n_images=6, shards={"records": 3})
    output = project.run("--dry-run", "results/data/people.json").stdout
    assert [f"shard {number} of people" in output for number in range(3)] == [True, True, False]
    # A random choice is one from all.
    study(project, n_images=6, sample_seed=3, shards={"records": 3})
    assert "shard 2 of people" in project.run("--dry-run", "results/data/people.json").stdout
