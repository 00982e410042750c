"""Data that is fetched by rules: archives arrive checked or not at all, once for all data sets made from them."""

import shutil

from conftest import RESNET, TINY, Project
from PIL import Image
from trees import cub200, mit67

from camstudy.core.ledger import read_header
from camstudy.core.provenance import read_json, sha256_file
from camstudy.data.archives import place_of

FILE = "CUB_200_2011.tgz"
NOTHING = "Nothing to be done"


def write(project, **entry):
    birds = {"source": "cub200", "num_classes": 3, **entry}
    datasets = TINY["catalog"]["datasets"] | {"birds": birds, "birds_train": birds | {"split": "train"}}
    project.write_study(TINY | {"catalog": TINY["catalog"] | {"datasets": datasets}})
    return birds


def test_archives_are_fetched_once_and_prepared_in_place(tmp_path):
    (tmp_path / "project").mkdir()
    project, server = Project(tmp_path / "project"), tmp_path / "server"
    server.mkdir()
    cub200(server, packed=True)
    targets = ["results/data/birds.json", "results/data/birds_train.json"]
    url = (server / FILE).as_uri()

    # An address that has moved.
    write(project, archives={FILE: {"url": f"{url}x"}})
    done = project.run(*targets, check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert (
        f"fetch {FILE} yourself (https://www.vision.caltech.edu/datasets/cub_200_2011/ says where it is now)" in output
    )
    assert "`catalog.datasets.birds.root`, `catalog.datasets.birds_train.root`" in output
    assert "Traceback" not in output

    entry = write(project, archives={FILE: {"url": url}})
    project.run(*targets)
    raw = project.path / "results/raw" / place_of(entry)
    assert sorted(path.name for path in raw.iterdir()) == [FILE, f"{FILE}.json", f"{FILE}.run.json"]
    digest = sha256_file(server / FILE)
    record = read_json(raw / f"{FILE}.json")
    assert (record["sha256"], record["bytes"]) == (digest, (server / FILE).stat().st_size)
    assert [read_json(project.path / target)["n_images"] for target in targets] == [3, 2]
    log = (project.path / f"results/logs/fetch_archive/{place_of(entry)}-{FILE}.log").read_text()
    assert f"pin it with `archives.{FILE}.sha256: {digest}`" in log

    # The checksum that it has, another address, the user's own copy, and none of it any more: nothing is made anew.
    def planned(**entry):
        write(project, **entry)
        done = project.run("--dry-run", *targets)
        return done.stdout + done.stderr

    assert NOTHING in planned(archives={FILE: {"url": url, "sha256": digest}})
    assert NOTHING in planned(archives={FILE: {"url": "https://mirror.org/birds.tgz"}})
    assert NOTHING in planned(root="../server")
    shutil.rmtree(raw)
    assert NOTHING in planned(archives={FILE: {"url": url}})
    # Another content is another data set.
    with (server / FILE).open("ab") as file:
        file.write(bytes(512))
    output = planned(root="../server")
    assert "Prepare birds\n" in output
    assert "Fetch" not in output


def test_scenes_without_labels_are_explained_and_drawn(tmp_path):
    (tmp_path / "project").mkdir()
    project, server = Project(tmp_path / "project"), tmp_path / "server"
    server.mkdir()
    mit67(server, packed=True)
    names = ("indoorCVPR_09.tar", "TrainImages.txt", "TestImages.txt")
    archives = {name: {"url": (server / name).as_uri()} for name in names}
    rooms = {"source": "mit67", "scenes": ["winecellar", "corridor"], "images_per_scene": 1, "archives": archives}
    recipe = RESNET["train"] | {"trainable": ["stream"], "epochs": 1, "warmup_epochs": 0}
    net = RESNET | {"variant": {"castream": {}}, "train": recipe}
    catalog = {
        "datasets": TINY["catalog"]["datasets"] | {"rooms": rooms},
        "models": {"net": net},
        "methods": {"raw_attention": {"target": "predicted"}},
    }
    lists = {"methods": ["raw_attention"], "figures": ["method_grid"]}
    lists |= {key: [] for key in ("controls", "comparisons", "tables")}
    project.write_study(
        TINY | lists | {"protocols": ["castream"], "dataset": "rooms", "models": ["net"], "catalog": catalog}
    )
    project.run()
    # No predictions: what they would be compared with is not known.
    assert not list(project.path.glob("results/scores/rooms/**/prediction*"))
    assert Image.open(project.path / "results/studies/tiny/figures/method_grid.png").height > 200
    read = read_header(project.path / "results/data/rooms.sources.jsonl")
    # The list of the other split was fetched, and plays no part.
    assert sorted(read["places"]) == ["", "indoorCVPR_09.tar"]
    assert NOTHING in project.run("--dry-run").stdout
