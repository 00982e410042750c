"""Weights without a classifier that fits: a start for training, and never the end of a model that is not trained."""

import dataclasses

import pytest
import safetensors.torch
import torch
from layouts import randomised
from studies import make_inputs
from test_config import config, errors, put  # noqa: F401  (a fixture)
from torch import nn

from camstudy.core.errors import CamstudyError
from camstudy.models.build import build_model
from camstudy.models.heads import head_names
from camstudy.models.record import refuse_random_head
from camstudy.models.weights.fetch import fetch_weights
from camstudy.study.checks import validate
from camstudy.tables.notes import random_weights, seen_in_training

torch.set_num_threads(1)

NARROW = {"embed_dim": 24, "depth": 1, "num_heads": 2, "img_size": 28}
TRAIN = {"dataset": "d", "epochs": 1}
HEADLESS = "vit_small_patch14_dinov2.lvd142m"
OTHERS = "vit_tiny_patch16_224.augreg_in21k"
NONE = (
    "the weights have no classifier, so that it would stay random, and the model is not trained; add `train`, or take "
    "weights that have one"
)
OTHER = (
    "the weights have a classifier of {} classes, the model one of {}, so that it would stay random, and the model is "
    "not trained; set `num_classes: {}` if your data have these classes, or add `train`"
)


def published(tmp_path, arch, classes, kwargs=NARROW):
    """Write a file as timm publishes it, of ``classes``, 0 for none; return the network and the file's address."""
    kwargs = {**kwargs, **({} if classes else {"num_classes": 0})}
    model = randomised(build_model({"arch": arch, "kwargs": kwargs, **({"num_classes": classes} if classes else {})}))
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    return model, (tmp_path / "model.safetensors").absolute().as_uri()


def entry(arch, num_classes, **changes):
    return {"arch": arch, "kwargs": NARROW, "num_classes": num_classes, "train": None} | changes


def same(fetched, model, wanted):
    """Check that a network has a file's tensors, and the classifier that it was built with."""
    found, initial, ours = fetched.state_dict(), build_model(wanted).state_dict(), model.state_dict()
    for name, tensor in found.items():
        assert torch.equal(tensor, initial[name] if name.startswith("head.") else ours[name]), name


@pytest.mark.parametrize(("arch", "classes"), [(HEADLESS, 0), (OTHERS, 21843)])
def test_timms_weights_without_a_fitting_head_are_a_start_for_training_alone(tmp_path, arch, classes):
    model, url = published(tmp_path, arch, classes)
    wanted = entry(arch, 10, weights={"timm": True, "url": url}, train=TRAIN)
    fetched, record = fetch_weights(wanted, tmp_path / "d")
    assert record["random_head"] is True
    same(fetched, model, wanted)
    with pytest.raises(CamstudyError) as caught:
        fetch_weights(wanted | {"train": None}, tmp_path / "d")
    assert str(caught.value) == f"weights from {url}: {OTHER.format(classes, 10, classes) if classes else NONE}"


def test_a_head_that_fits_is_the_files(tmp_path):
    model, url = published(tmp_path, OTHERS, 21843)
    wanted = entry(OTHERS, 21843, weights={"timm": True, "url": url})
    fetched, record = fetch_weights(wanted, tmp_path / "d")
    assert "random_head" not in record
    assert torch.equal(fetched.head.weight, model.head.weight)


@pytest.mark.parametrize("source", ["path", "url"])
def test_files_without_a_head_are_a_start_for_training_alone(tmp_path, source):
    model, url = published(tmp_path, HEADLESS, 0)
    weights = {"url": url} if source == "url" else {"path": str(tmp_path / "model.safetensors")}
    wanted = entry(HEADLESS, 10, weights=weights, train=TRAIN)
    fetched, record = fetch_weights(wanted, tmp_path / "d")
    assert record["random_head"] is True
    same(fetched, model, wanted)
    with pytest.raises(CamstudyError) as caught:
        fetch_weights(wanted | {"train": None}, tmp_path / "d")
    assert str(caught.value) == f"weights from {url if source == 'url' else weights['path']}: {NONE}"


@pytest.mark.parametrize("lost", ["blocks.0.mlp.fc1.weight", "head.bias"])
def test_files_that_lack_anything_else_are_refused(tmp_path, lost):
    model, _ = published(tmp_path, OTHERS, 10)
    state = {name: tensor for name, tensor in model.state_dict().items() if name != lost}
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    wanted = entry(OTHERS, 10, weights={"path": str(tmp_path / "model.safetensors")}, train=TRAIN)
    with pytest.raises(CamstudyError, match=f"1 missing: {lost}"):
        fetch_weights(wanted, tmp_path / "d")


def test_a_network_of_ones_own_loses_its_last_layer_of_so_many_outputs():
    model = nn.Sequential(nn.Conv2d(3, 5, 1), nn.Flatten(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 7))
    assert head_names(model, 5) == {"2.weight", "2.bias"}
    assert head_names(model, 7) == {"4.weight", "4.bias"}
    assert head_names(model, 9) == set()


@pytest.mark.parametrize(
    ("arch", "num_classes", "text"),
    [
        ("vit_base_patch16_224.augreg_in21k", 1000, OTHER.format(21843, 1000, 21843)),
        ("vit_base_patch16_224_in21k", 1000, OTHER.format(21843, 1000, 21843)),
        ("vit_base_patch16_clip_224.openai", 1000, OTHER.format(512, 1000, 512)),
        ("vit_base_patch16_224.dino", 1000, NONE),
        ("resnet50.a1_in1k", 10, OTHER.format(1000, 10, 1000)),
        ("resnet50.a1_in1k", 1000, None),
        ("vit_base_patch16_224.augreg_in21k", 21843, None),
    ],
)
def test_planning_refuses_what_would_stay_random(config, arch, num_classes, text):  # noqa: F811
    model = {"arch": arch, "num_classes": num_classes, "weights": {"timm": True}}
    put(config, "catalog.models.other", model)
    if text is None:
        validate(config)
        return
    assert errors(config) == {"catalog.models.other.weights.timm": f"of `{arch}`: {text}"}
    validate(put(config, "catalog.models.other.train", {"dataset": "scenes_train"}))


def test_a_recipe_that_has_gone_leaves_no_random_head_behind():
    with pytest.raises(CamstudyError) as caught:
        refuse_random_head({"source": "f", "random_head": True}, "results/weights/m.json, weights of m")
    assert str(caught.value) == f"results/weights/m.json, weights of m: {NONE}"
    refuse_random_head({"source": "f"}, "m")
    refuse_random_head(None, "m")


def test_tables_say_which_networks_have_random_weights():
    random, trained = {"training": None, "start": None}, {"training": {"seed": 0}, "start": None}
    models = {
        "a": random,
        "b": trained,
        "c": {"training": None, "start": {"source": "f", "sha256": "0"}},
        "d": {"training": None, "start": random},
        "e": {"training": None, "start": trained},
    }
    inputs = make_inputs()
    models = {name: {"title": name.upper(), **record} for name, record in models.items()}
    assert [*random_weights(dataclasses.replace(inputs, models=models))] == ["Random weights, not trained: A, D."]
    assert [*random_weights(inputs)] == []


def test_tables_say_which_networks_know_the_images_from_their_training():
    inputs = make_inputs()
    own = inputs.dataset["dataset"]
    models = {
        "a": {"training": {"dataset": own}, "start": None},
        "b": {"training": {"dataset": "others"}, "start": {"training": {"dataset": own}, "start": None}},
        "c": {"training": {"dataset": "others"}, "start": {"source": "f", "sha256": "0"}},
        "d": {"training": None},
        "e": {"training": {"dataset": "photos"}},
    }
    models = {name: {"title": name.upper(), **record} for name, record in models.items()}
    inputs = dataclasses.replace(inputs, models=models)
    said = f"Trained on the images of {own}, which are scored here: A, B."
    assert [*seen_in_training(inputs)] == [said]
    study = {**inputs.study, "prediction_dataset": "photos"}
    more = "Trained on the images of photos, which are scored here: E."
    assert [*seen_in_training(dataclasses.replace(inputs, study=study))] == [said, more]
