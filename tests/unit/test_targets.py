"""Controls are tried on the class that the methods explain: their entries, the stored maps, and the network asked."""

import copy

import numpy as np
import pytest
import torch
from conftest import ROOT
from test_config import config, errors, put  # noqa: F401  (a fixture)
from test_pipeline import merged, study
from torch import nn

from camstudy.analysis.summary import TableInputs
from camstudy.metrics.probing import predicted
from camstudy.pipeline.head import registered
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.sources import Sources
from camstudy.study.checks import validate
from camstudy.tables.notes import targets

torch.set_num_threads(1)

FAITHFUL = {"protocols": ["rise_fast"], "tables": ["faithfulness"], "figures": []}
PREDICTED = {"catalog": {"methods": {name: {"target": "predicted"} for name in ("gradcam", "layer_cam")}}}


def controls(*changes, **settings):
    """Return controls and methods of a study, and its catalogue's methods."""
    chosen = {"methods": ["gradcam", "layer_cam", "fake_cam"], "controls": ["random", "center_bias"]}
    found = study(**merged(FAITHFUL, chosen, *changes, settings))
    return found.controls, found.methods, found.catalog["methods"]


def test_where_methods_explain_the_label_all_stays_as_it_is():
    names, methods, entries = controls()
    assert (names, methods) == (["random", "center_bias"], ["gradcam", "layer_cam", "fake_cam"])
    assert not [name for name in entries if name.endswith(("_predicted", "_label"))]


def test_where_methods_explain_the_prediction_controls_do():
    names, methods, entries = controls(PREDICTED)
    assert names == ["random_predicted", "center_bias_predicted"]
    assert methods == ["gradcam", "layer_cam", "fake_cam_predicted"]
    for name in ("random", "center_bias", "fake_cam"):
        assert entries[f"{name}_predicted"] == entries[name] | {"target": "predicted"}
        assert entries[name]["target"] == "label"


def test_where_methods_explain_both_controls_do():
    mixed = {"catalog": {"methods": {"gradcam": {"target": "predicted"}}}}
    names, methods, entries = controls(mixed)
    assert names == ["random_predicted", "random", "center_bias_predicted", "center_bias"]
    assert methods == ["gradcam", "layer_cam", "fake_cam_predicted", "fake_cam"]
    assert entries["random_predicted"]["title"] == "Random (predicted class)"
    assert entries["random"]["title"] == "Random"


def test_other_studies_stay_as_they_are():
    agreement = {"protocols": ["human_maps"], "tables": ["dcls"], "comparisons": []}
    assert controls(PREDICTED, agreement)[0] == ["random", "center_bias"]


def test_a_matched_study_is_matched_for_good():
    for changes in (PREDICTED, {"catalog": {"methods": {"gradcam": {"target": "predicted"}}}}):
        chosen = {"methods": ["gradcam", "layer_cam", "fake_cam"], "controls": ["random"]}
        once = study(**merged(FAITHFUL, chosen, changes)).config
        assert validate(copy.deepcopy(once), registered(ROOT), check_files=False) == once


def test_a_control_of_ones_own_on_the_prediction_follows_methods_on_the_label():
    mine = {"catalog": {"methods": {"noise": {"method": "random", "target": "predicted", "title": "Noise"}}}}
    names, _, entries = controls(mine, controls=["noise"])
    assert names == ["noise_label"]
    assert (entries["noise_label"]["target"], entries["noise_label"]["title"]) == ("label", "Noise")


def test_a_name_that_is_taken_is_told(config):  # noqa: F811
    put(config, "protocols", ["masked"])
    put(config, "tables", [])
    put(config, "figures", [])
    for name in ("gradcam", "threshold_gradcam"):
        put(config, f"catalog.methods.{name}.target", "predicted")
    put(config, "catalog.methods.random_predicted", {"method": "center_bias"})
    text = "this is the name of `random` on the predicted class, which the methods explain; rename the entry"
    assert errors(config) == {"catalog.methods.random_predicted": text}


def test_scores_on_other_classes_have_other_places_and_identities():
    plain, other = (study(**merged(FAITHFUL, {"controls": ["random"]}, *change)) for change in ([], [PREDICTED]))
    first = Identities(plain, Sources(plain)).scores("tiny", "tiny_resnet", "random", "rise_fast")
    shared = Identities(other, Sources(other)).scores("tiny", "tiny_resnet", "random", "rise_fast")
    own = Identities(other, Sources(other)).scores("tiny", "tiny_resnet", "random_predicted", "rise_fast")
    assert first == shared != own


def test_the_note_of_a_table_holds_for_its_controls():
    found = study(**merged(FAITHFUL, PREDICTED, {"methods": ["gradcam"], "controls": ["random"]}))
    inputs = TableInputs(scores=None, comparisons=None, models={}, study=found.config, dataset={})
    assert [*targets(inputs, [*found.methods, *found.controls])] == [
        "Explained class: the class that the model predicts."
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 8])
def test_the_predicted_class_is_that_of_the_largest_logit(batch_size):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Dropout(0.9)).eval()
    images = torch.randn(7, 3, 2, 2)
    weight, bias = (parameter.detach().numpy() for parameter in model[1].parameters())
    expected = (images.flatten(1).numpy() @ weight.T + bias).argmax(1)
    assert np.array_equal(predicted(model.train(), images, batch_size), expected)
    assert model.training
