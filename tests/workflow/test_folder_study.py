"""A folder of photographs and maps made elsewhere through the workflow: damage is left out, other maps are noticed."""

import numpy as np
import zarr
from conftest import TINY, Project
from PIL import Image
from trees import jpeg

from camstudy.core.provenance import read_json

MAPS, DATA = "results/heatmaps/mine/control/theirs.json", "results/data/mine.json"


def test_photographs_and_maps_of_ones_own(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    for number, name in enumerate(("cat/1.jpg", "cat/2.jpg", "dog/3.jpg")):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
        (tmp_path / "maps").mkdir(exist_ok=True)
        np.save(tmp_path / f"maps/{number + 1}.npy", np.full((5, 5), number + 1.0))
        with Image.open(path) as image:
            (tmp_path / "photos/masks").mkdir(exist_ok=True)
            image.convert("L").save(tmp_path / f"photos/masks/{number + 1}.png")
            (tmp_path / "people").mkdir(exist_ok=True)
            np.save(
                tmp_path / f"people/{number + 1}.npy", np.arange(image.height * image.width).reshape(image.size[::-1])
            )
    for folder, ending in (("photos/masks", "png"), ("people", "npy")):
        (tmp_path / f"{folder}/4.{ending}").write_bytes((tmp_path / f"{folder}/1.{ending}").read_bytes())
    (tmp_path / "photos/dog/4.jpg").write_bytes(b"<html>")
    (tmp_path / "photos/dog/5.jpg").write_bytes(jpeg(5))
    beside = {"masks": "masks", "human_maps": "../people", "human_ceiling": 1}
    datasets = {"mine": {"source": "folder", "root": "../photos", "on_error": "skip", **beside}}
    methods = {"theirs": {"method": "files", "parameters": {"path": "../maps"}}}
    catalog = {"datasets": datasets, "methods": methods, "models": {"tiny_resnet": {"num_classes": 2}}}
    catalog["models"]["tiny_resnet"] = TINY["catalog"]["models"]["tiny_resnet"] | catalog["models"]["tiny_resnet"]
    del catalog["models"]["tiny_resnet"]["train"]
    catalog["models"]["tiny_resnet"]["weights"] = "random"
    chosen = {"dataset": "mine", "models": ["tiny_resnet"], "comparisons": [], "controls": ["theirs"], "tables": []}
    project.write_study({**TINY, **chosen, "figures": [], "protocols": ["rise_fast", "human_maps"], "catalog": catalog})
    project.run(MAPS)

    store = zarr.open_group(project.path / DATA.replace(".json", ".zarr"), mode="r")
    assert (read_json(project.path / DATA)["n_images"], store.attrs["skipped"]) == (3, 2)
    assert store.attrs["human_maps"] == "recorded"
    # Each grows from its first pixel to its last.
    assert (store["human_map"][:, 0, 0] < store["human_map"][:, -1, -1]).all()
    assert store["mask_file_offset"][-1] == sum((tmp_path / f"photos/masks/{n}.png").stat().st_size for n in (1, 2, 3))
    found = zarr.open_group(project.path / MAPS.replace(".json", ".zarr"), mode="r")
    numbers = [int(name.split("/")[1].split(".")[0]) for name in store["image"][:]]
    assert found["heatmap"][:, 0, 0].tolist() == numbers
    assert [name.split("/")[0] == "dog" for name in store["image"][:]] == store["label"][:].astype(bool).tolist()
    log = (project.path / "results/logs/prepare_photographs/mine.log").read_text()
    assert "dog/4.jpg: neither a JPEG nor a PNG file, but a web page" in log
    assert "photos/masks: has no mask of the image dog/5.jpg; put dog/5.png there" in log

    assert "Nothing to be done" in project.run("--dry-run", MAPS).stdout
    np.save(tmp_path / "maps/1.npy", np.zeros((5, 5)))
    assert "explain_control" in project.run("--dry-run", MAPS).stdout

    for path in (tmp_path / "photos").rglob("*.jpg"):
        path.write_bytes(b"<html>")
    done = project.run(DATA, check=False)
    assert done.returncode
    assert "photos: none of 5 images can be used; the first: " in done.stdout + done.stderr
