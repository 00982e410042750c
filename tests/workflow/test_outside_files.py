"""Files from outside through the workflow: what changed in them is made anew, and nothing else is."""

import os

import numpy as np
import pytest
from conftest import TINY, Project
from trees import cub200, picture

from camstudy.core.ledger import read_header
from camstudy.core.provenance import read_json
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.clickme import encode_example
from camstudy.data.formats.tfrecord import write_shard

BIRDS, OWN = "results/data/birds.json", "results/data/own.json"
NOTHING = "Nothing to be done"
IMAGE = "birds/CUB_200_2011/images/001.Black_footed_Albatross/Black_Footed_Albatross_0046_18.jpg"


def shard(path, level):
    image = np.full((256, 256, 3), level, np.uint8)
    write_shard(path, [encode_example(image, image[..., 0], number) for number in range(2)])


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    (tmp_path / "birds").mkdir()
    cub200(tmp_path / "birds")
    shard(tmp_path / "own.tfrecords", 10)
    datasets = {
        "birds": {"source": "cub200", "root": "../birds", "num_classes": 3},
        "own": {"source": "clickme", "shards": ["../own.tfrecords"], "human_ceiling": None},
    }
    catalog = TINY["catalog"] | {"datasets": TINY["catalog"]["datasets"] | datasets}
    project.write_study(TINY | {"catalog": catalog})
    project.run(BIRDS, OWN)
    return project


def planned(project):
    """Return the datasets that are to be prepared."""
    output = project.run("--dry-run", BIRDS, OWN).stdout
    found = [name for name in ("birds", "own") if f"Prepare {name}" in output]
    assert (NOTHING in output) == (not found)
    return found


def test_what_changed_below_root_is_prepared_anew_and_nothing_else(project):
    outside = project.path.parent
    for path in [*(outside / "birds").rglob("*"), outside / "own.tfrecords"]:
        os.utime(path)
    assert planned(project) == []

    # Another photograph of the same size in bytes, at an old time; and a shard.
    before = read_json(project.path / BIRDS)
    content = (outside / IMAGE).read_bytes()
    other = picture(33, 50, quality=60)
    other += bytes(len(content) - len(other))
    (outside / IMAGE).write_bytes(other)
    os.utime(outside / IMAGE, (1, 1))
    assert planned(project) == ["birds"]
    shard(outside / "own.tfrecords", 200)
    project.run(BIRDS, OWN)
    assert planned(project) == []
    after = read_json(project.path / BIRDS)
    assert after["content"] != before["content"]
    assert open_dataset(project.path / BIRDS).group["image_file"][: len(other)].tobytes() == other
    assert abs(int(open_dataset(project.path / OWN).images()[0, 0, 0, 0]) - 200) <= 1

    # On a machine without any of it.
    (outside / "birds").rename(outside / "elsewhere")
    (outside / "own.tfrecords").unlink()
    assert planned(project) == []
    (outside / "elsewhere").rename(outside / "birds")

    # Cut off: the file is named, until it is repaired.
    (outside / IMAGE).write_bytes(content[: len(content) // 2])
    done = project.run(BIRDS, OWN, check=False)
    assert done.returncode == 1
    assert "Black_Footed_Albatross_0046_18.jpg: cannot be decoded" in done.stderr
    assert read_header(project.path / "results/data/birds.sources.jsonl")["content"] == after["content"]
    (outside / IMAGE).write_bytes(other)
    project.run(BIRDS, OWN)
    assert read_json(project.path / BIRDS)["content"] == after["content"]
    assert planned(project) == []
