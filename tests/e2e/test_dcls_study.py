"""The DCLS study's own configuration, end to end: its downloads are files in the true formats, at full size."""

import csv
import json

import numpy as np
import pytest
import torch
import yaml
from conftest import ROOT, Project
from layouts import checkpoint, official, randomised
from PIL import Image

from camstudy.data.formats.clickme import encode_example
from camstudy.data.formats.tfrecord import write_shard
from camstudy.models.build import build_model
from camstudy.models.weights.checkpoints import save_model

STUDY = "config/studies/dcls.yaml"
CATALOG = yaml.safe_load((ROOT / "config/catalog/imagenet_models.yaml").read_text())["catalog"]["models"]
FAMILIES = ("resnet50", "convnext_tiny", "convformer_s18", "fastvit_sa24")
MODELS = [name + suffix for name in FAMILIES for suffix in ("", "_dcls")]
METHODS = ["gradcam", "threshold_gradcam"]
SHARDS, IMAGES = 2, 4

# A hundred jobs with networks of full size: minutes on two cores, more beside other work.
pytestmark = pytest.mark.timeout(3600)


def write_models(folder):
    """Write a random network of each family, plain by timm's names, with DCLS by the authors'.

    Not as initialised: branches that begin at zero would hide what is in them.
    """
    files = {}
    for name in FAMILIES:
        files[name] = folder / f"{name}.safetensors"
        save_model(randomised(build_model(CATALOG[name], variants=False)), files[name])
        entry = CATALOG[f"{name}_dcls"]
        files[f"{name}_dcls"] = folder / entry["weights"]["url"].rpartition("/")[2]
        state = official(name, randomised(build_model(entry)))
        torch.save(checkpoint(name, state, entry["weights"]["key"]), files[f"{name}_dcls"])
    return files


def write_clickme(folder):
    """Write shards as ClickMe's: photographs 256x256 as JPEG, grey maps, classes of ImageNet."""
    rng = np.random.default_rng(0)
    for shard in range(SHARDS):
        examples = []
        for label in rng.integers(0, 1000, IMAGES // SHARDS):
            image = np.kron(rng.integers(0, 256, (16, 16, 3)), np.ones((16, 16, 1))).astype(np.uint8)
            heatmap = np.zeros((256, 256), np.uint8)
            y, x = rng.integers(0, 192, 2)
            heatmap[y : y + 64, x : x + 64] = 255
            examples.append(encode_example(image, heatmap, int(label)))
        write_shard(folder / f"val-{shard}.tfrecords", examples)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The project after the study, with the files' addresses laid over the catalogue's."""
    files = tmp_path_factory.mktemp("files")
    weights = write_models(files)
    write_clickme(files)
    project = Project(tmp_path_factory.mktemp("project"))
    overlay = {
        "models": MODELS,
        "methods": METHODS,
        "comparisons": [{"baseline": name, "variant": f"{name}_dcls"} for name in FAMILIES],
        "statistics": {"resamples": 199},
        "qualitative": {"n_images": 2},
        "sweep": {"protocol": "few"},
        "cost": "once",
        "device": "cpu",
        "threads": {"prepare": 1, "train": 1, "explain": 1},
        "catalog": {
            "datasets": {"clickme_val": {"shards": {"url": f"{files.as_uri()}/val-{{i}}.tfrecords", "count": SHARDS}}},
            "models": {name: {"weights": {"url": path.as_uri()}} for name, path in weights.items()},
            "protocols": {
                "few": {"family": "sweep", "floors": [None, 0.3, 0.6]},
                "once": {"family": "cost", "batch_size": 1, "repeats": 1},
            },
        },
    }
    project.write_study(overlay)
    project.run("--configfile", STUDY, "study.yaml", timeout=3000)
    return project


def read_table(project, name):
    with (project.path / f"results/studies/dcls/tables/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_table_is_filled(study):
    rows = [row for row in read_table(study, "dcls") if row["baseline"] in FAMILIES]
    assert [row["baseline"] for row in rows] == list(FAMILIES)
    for row in rows:
        assert row["variant"] == f"{row['baseline']}_dcls"
        cells = {key: text for key, text in row.items() if "alignment" in key and "p" not in key.split("_")}
        assert cells
        assert all(np.isfinite(float(text)) for text in cells.values()), cells
        # Other networks, other maps.
        assert row["gradcam_baseline_alignment"] != row["gradcam_dcls_alignment"]


def test_weights_and_images_are_the_files(study):
    record = json.loads((study.path / "results/models/convnext_tiny_dcls/model.json").read_text())
    assert record["parameters"] == pytest.approx(28.588e6, abs=5e2)
    assert record["start"]["include_variant"] is True
    manifest = json.loads((study.path / "results/data/clickme_val.json").read_text())
    assert manifest["n_images"] == IMAGES


def test_the_tables_of_thresholds_cost_and_published_values_are_filled(study):
    assert {row["model"] for row in read_table(study, "threshold_sweep")} == set(MODELS)
    cost = {row["model"]: row for row in read_table(study, "cost")}
    assert float(cost["resnet50"]["multiply_adds_dense"]) == pytest.approx(4.089e9, abs=5e5)
    assert float(cost["resnet50_dcls"]["multiply_adds_taps"]) == pytest.approx(3.267e9, abs=5e5)
    # Published for ImageNet, measured on ClickMe's images: nothing to compare with.
    published = read_table(study, "published")
    assert {row["model"] for row in published} == set(MODELS)
    assert all(row["top1_measured"] and not row["top1_published"] for row in published if not row["method"])


@pytest.mark.parametrize(
    "name", ["alignment", "accuracy_alignment", "threshold_sweep", "alignment_cost", "qualitative"]
)
def test_figures_are_not_empty(study, name):
    """How figures look is compared in the unit tests: what these show depends on the machine, speeds above all."""
    with Image.open(study.path / f"results/studies/dcls/figures/{name}.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("L")))) > 10


def test_fewer_images_and_another_dataset_for_accuracy_can_be_asked_for(study):
    planned = study.run("--dry-run", "--configfile", STUDY, "study.yaml", "--config", "n_images=2").stdout
    assert "Prepare clickme_val-n2\n" in planned
    assert "Make table dcls of dcls-n2\n" in planned
    assert "Fetch" not in planned, "a trial takes the shards that are there"
    assert "Assemble" not in planned
    refused = study.run(
        *("--dry-run", "--configfile", STUDY, "study.yaml", "--config", "prediction_dataset=imagenet_val"), check=False
    )
    output = refused.stdout + refused.stderr
    assert refused.returncode != 0
    assert "data/imagenet" in output
    assert "Traceback" not in output
