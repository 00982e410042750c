"""Photographs whose number nobody states: their parts follow from a list of files, and from what was prepared."""

import json

import pytest
from conftest import RESNET, TINY, Project
from test_reruns import planned
from trees import NAMES, as_classes, as_distributed, write_images

NET = {key: value for key, value in RESNET.items() if key != "train"} | {"weights": "random", "num_classes": 4}


@pytest.fixture
def project(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    datasets = {"photos": {"source": "imagenet", "root": "../imagenet", "num_classes": 4}}
    methods = {"quick": {"method": "rise", "parameters": {"n_masks": 4}}}
    catalog = {"datasets": datasets, "models": {"net": NET}, "methods": methods}
    settings = {"dataset": "photos", "models": ["net"], "methods": ["quick"], "comparisons": [], "catalog": catalog}
    shown = {"controls": ["random"], "protocols": ["rise_fast"], "tables": ["faithfulness"], "figures": []}
    project.write_study({**TINY, **settings, **shown})
    # Into parts of three images, as those of thousands are into parts of a thousand.
    project.edit("camstudy/core/parts.py", "PART = 1024", "PART = 3")
    return project


def parts(jobs):
    return {job.rsplit("/", 1)[-1] for job in jobs if job.startswith("Explain net")}


@pytest.mark.parametrize("layout", [as_classes, as_distributed])
def test_any_number_of_photographs(project, tmp_path, layout):
    (tmp_path / "imagenet").mkdir()
    layout(tmp_path / "imagenet")
    assert parts(planned(project)) == {"00000-00002", "00003-00005", "00006-00006"}
    if layout is as_distributed:
        return
    project.run("results/heatmaps/photos/net/quick/00006-00006.json")
    assert json.loads((project.path / "results/data/photos.json").read_text())["n_images"] == len(NAMES) == 7
    assert parts(planned(project)) == {"00000-00002", "00003-00005"}
    # One comes: all is planned for it at once.
    write_images(tmp_path / "imagenet/n01440764", [NAMES[0]])
    assert parts(planned(project)) == {"00000-00002", "00003-00005", "00006-00007"}
