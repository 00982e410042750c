"""Fixations that are corrected make exactly their scores anew, and no map; another image makes maps anew, too.

Planned by Snakemake itself over stubs, as `test_reruns` does it.
"""

import shutil

import pandas as pd
import pytest
from conftest import RESNET, TINY, Project
from planning import FORKS
from test_reruns import _stub, planned
from trees import picture

from camstudy.core.ledger import read_header, table_of
from camstudy.data.formats.files import Root
from camstudy.data.sources import SOURCES

DATA, MINE = "results/data/mine.json", "results/data/mine.fixations.json"
NET = {key: value for key, value in RESNET.items() if key != "train"} | {"weights": "random"}
STUDY = TINY | {
    "study": "mine",
    "dataset": "mine",
    "models": ["net"],
    "methods": ["gradcam"],
    "controls": ["random", "gaze_center_bias", "human_observers"],
    "comparisons": [],
    "protocols": ["gaze", "rise_fast"],
    "tables": ["gaze"],
    "figures": [],
    "catalog": {
        "datasets": {
            "mine": {
                "source": "gaze_table",
                "root": "mine",
                "table": "gaze.csv",
                "sigma": 8,
                "human_ceiling": 0.8,
                "n_images": 7,
            }
        },
        "models": {"net": NET},
        "methods": {"gradcam": {"target": "predicted"}},
    },
}
# Controls follow the target of the methods, as their names say.
CONTROLS = [f"{name}_predicted" for name in STUDY["controls"]]
MAPS = {"net": ["gradcam"], "control": CONTROLS}
SCORED = {f"Score {method} of {model} on mine by gaze" for model, methods in MAPS.items() for method in methods}
FROM_SCORES = {"Aggregate the scores of mine", "Make table gaze of mine"}
LOOKED = {f"Make the control maps {method} for mine" for method in CONTROLS[1:]}
# A control's maps are tried on the network, too.
TRIED = {"Score gaze_center_bias_predicted of net on mine by rise_fast"}
CORRECTED = {"Prepare the fixations of mine"} | LOOKED | SCORED | TRIED | FROM_SCORES


def write_table(path, first="10"):
    rows = [f"{n}.jpg,{who},{order},{10 + 3 * order},12" for n in range(7) for who in "ab" for order in range(3)]
    rows[0] = f"0.jpg,a,0,{first},12"
    (path / "mine/gaze.csv").write_text("image,observer,order,x,y\n" + "\n".join(rows) + "\n")


def note(path, *, split):
    """Note what was read when the dataset was prepared, as the script does it, or as it did before there were two."""
    root, source, entry = Root(path / "mine"), SOURCES["gaze_table"], STUDY["catalog"]["datasets"]["mine"]
    source.read(entry, root)
    looks = source.looks(entry) if split else ()
    if looks:
        root.record(table_of(path / MINE), "", only=looks)
    root.record(table_of(path / DATA), "", without=looks)


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory):
    path = tmp_path_factory.mktemp("corrected") / "project"
    path.mkdir()
    project = Project(path)
    (path / "mine").mkdir()
    for n in range(7):
        (path / f"mine/{n}.jpg").write_bytes(picture(30 + n, 40))
    write_table(path)
    project.write_study(STUDY)
    process = FORKS.Process(target=_stub, args=(path, "study.yaml", {}))
    process.start()
    process.join()
    assert process.exitcode == 0
    note(path, split=True)
    project.run("--touch", "--forceall")
    assert planned(project) == set()
    return project


@pytest.fixture
def project(stubbed, tmp_path):
    shutil.copytree(stubbed.path, tmp_path / "project", symlinks=True, copy_function=shutil.copy2)
    return Project.at(tmp_path / "project")


@pytest.mark.parametrize("noted", ["now", "by an earlier version"])
def test_a_corrected_fixation_makes_its_scores_anew_and_no_map(project, noted):
    if noted != "now":
        for table in (DATA, MINE):
            table_of(project.path / table).unlink()
        note(project.path, split=False)
        assert planned(project) == set()
        assert "without" in read_header(table_of(project.path / DATA))
    before = read_header(table_of(project.path / MINE))["content"]
    write_table(project.path, first="11")
    # No map of the network, no prediction, not the images; maps of controls that are made of fixations.
    assert planned(project) == CORRECTED
    # As it was, nothing is to be done.
    write_table(project.path)
    assert planned(project) == set()
    assert read_header(table_of(project.path / MINE))["seen"] == before


def test_another_image_makes_maps_anew(project):
    (project.path / "mine/3.jpg").write_bytes(picture(50, 41))
    found = planned(project)
    assert found >= {"Prepare mine", "Explain net on mine with gradcam"} | SCORED
    assert "Prepare the fixations of mine" not in found
    write_table(project.path, first="11")
    assert planned(project) == found | {"Prepare the fixations of mine"}


def test_scores_are_those_of_the_corrected_fixations(tmp_path_factory):
    projects = [Project(tmp_path_factory.mktemp(name)) for name in ("corrected", "anew")]
    places = ["net/gradcam", *(f"control/{control}" for control in CONTROLS)]
    scores = [f"results/scores/mine/{place}/gaze.parquet" for place in places]
    for project, first in zip(projects, ("30", "11"), strict=True):
        (project.path / "mine").mkdir()
        for n in range(7):
            (project.path / f"mine/{n}.jpg").write_bytes(picture(30 + n, 40))
        write_table(project.path, first=first)
        project.write_study(STUDY)
        project.run("--", *scores)
    corrected, anew = (project.path for project in projects)
    assert not pd.read_parquet(corrected / scores[0]).equals(pd.read_parquet(anew / scores[0]))
    chunks = (corrected / "results/heatmaps/mine/net").rglob("c.*")
    maps = {path: path.stat().st_mtime_ns for path in chunks}
    write_table(corrected, first="11")
    projects[0].run("--", *scores)
    assert maps
    assert {path: path.stat().st_mtime_ns for path in maps} == maps
    for name in scores:
        pd.testing.assert_frame_equal(pd.read_parquet(corrected / name), pd.read_parquet(anew / name))
