"""The whole chain at 32x32 pixels: from an archive of CIFAR over a trained network and its maps to their scores."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import ROOT
from trees import cifar

from camstudy.core.parts import read_scores
from camstudy.data.dataset import open_dataset
from camstudy.data.formats.files import Root
from camstudy.data.formats.pixels import write_pixels
from camstudy.data.sources import SOURCES
from camstudy.explain.explainer import Explainer
from camstudy.explain.run import explain_dataset
from camstudy.explain.store import Heatmaps
from camstudy.metrics.faithfulness import Protocol
from camstudy.metrics.run import score
from camstudy.metrics.scoring import FAMILIES, Work
from camstudy.models.build import input_config
from camstudy.models.inputs import prepare
from camstudy.models.weights.checkpoints import save_model
from camstudy.study.catalog import with_catalogs
from camstudy.study.checks import validate
from camstudy.training.run import train_entry

torch.set_num_threads(1)
CPU = torch.device("cpu")
N = 6


@pytest.fixture(scope="module")
def catalog():
    study = yaml.safe_load((ROOT / "config/studies/gradients.yaml").read_text())
    return validate(with_catalogs(study, ROOT), check_files=False)["catalog"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    cifar(folder / "root", "cifar100", count=N)
    for split in ("train", "test"):
        found = SOURCES["cifar100"].read({"split": split}, Root(folder / "root"))
        attrs = {"class_names": found.class_names}
        write_pixels(folder / f"{split}.json", found.photographs, found.pixels, attrs=attrs, identity=split, chunk=4)
    return folder


@pytest.fixture(scope="module")
def entry(catalog):
    """The regularised network of the study, trained for a moment."""
    entry = copy.deepcopy(catalog["models"]["mobilenet_v2_cifar100_guided_seed1"])
    entry["train"] |= {"epochs": 1, "batch_size": 3}
    return entry


@pytest.fixture(scope="module")
def weights(folder, entry):
    model, history = train_entry(
        entry,
        weights=None,
        dataset=str(folder / "train.json"),
        threads=1,
        checkpoint=str(folder / "checkpoint.pt"),
        fingerprint="it",
        device=CPU,
    )
    assert -1 <= history[0]["cosine"] <= 1
    # Of two steps, norms know too little for signals to pass fifty of them.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
    with torch.no_grad():
        model.train()(prepare(open_dataset(folder / "train.json").images(), input_config(entry)))
    save_model(model, folder / "model.safetensors", {})
    (folder / "model.json").write_text('{"identity": ""}')
    return folder / "model.safetensors"


def explained(folder, catalog, entry, weights, name):
    """Explain the test images by a method of the catalogue; return the maps' store."""
    method = catalog["methods"][name]
    explainer, store = Explainer.load(entry, method, weights, CPU), open_dataset(folder / "test.json")
    about = {"dataset": "d", "model": "m", "method": name, "parameters": {}, "layer": explainer.layer.path}
    about |= {"target_policy": "label", "reference": None}
    settings = {"batch_size": 4, "chunk_size": 4}
    options = {"images": slice(0, N), "settings": settings, "attrs": about, "identity": "i"}
    explain_dataset(folder / f"{name}.json", store, explainer, **options)
    return Heatmaps([folder / f"{name}.json"])


def scored(folder, catalog, entry, protocol, heatmaps=None):
    settings = catalog["protocols"][protocol]
    method = {"postprocess": {}, "target": "label"}
    records, store = {"model": folder / "model.json"}, open_dataset(folder / "test.json")
    work = Work(FAMILIES[settings["family"]], settings, store, heatmaps, method, entry, records, CPU, 64)
    files = score(work, folder / f"{protocol}.parquet")
    return read_scores([files[0]]), files[1:]


@pytest.mark.parametrize("name", ["gradcam", "xgrad_cam", "input_gradient", "guided_backprop"])
def test_maps_have_the_size_of_the_layer_or_of_the_image(folder, catalog, entry, weights, name):
    maps = explained(folder, catalog, entry, weights, name)
    assert maps.shape == ((4, 4) if "cam" in name else (32, 32))
    assert np.isfinite(maps.maps(slice(0, N))).all()


def test_faithfulness_takes_32_pixels_at_a_time(folder, catalog, entry, weights):
    protocol = Protocol.of(catalog["protocols"]["castream_32"])
    assert (protocol.size(32**2), protocol.steps(32**2)) == (32, 32)
    maps = explained(folder, catalog, entry, weights, "gradcam_plusplus")
    scores, (curves,) = scored(folder, catalog, entry, "castream_32", maps)
    assert len(scores) == N
    for metric in ("average_drop", "insertion_auc", "deletion_auc"):
        assert scores[metric].between(0, 1).all()
    assert pd.read_parquet(curves)["insertion"].map(len).eq(33).all()


def test_gradients_are_scored_without_maps(folder, catalog, entry, weights):
    scores, _ = scored(folder, catalog, entry, "gradients")
    assert scores["gradient_cosine"].between(-1, 1).all()
    assert scores["gradient_energy"].between(0.1, 1).all()
