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
from camstudy.core.errors import CamstudyError
from camstudy.explain.targets import chosen_classes, class_number
from camstudy.metrics.probing import chosen
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
    assert np.array_equal(chosen(model.train(), images, np.full(7, -1), "predicted", batch_size), expected)
    assert model.training


LOGITS = np.array([[3.0, 1, 2], [0, 5, 5], [-1, -3, -2], [4, 4, 4]])


@pytest.mark.parametrize(
    ("target", "labels", "expected"),
    [
        ("label", [2, 2, 0, 1], [2, 2, 0, 1]),
        ("predicted", [2, 2, 0, 1], [0, 1, 0, 0]),
        ("second", [2, 2, 0, 1], [2, 2, 2, 1]),
        ("other", [2, 1, 0, 0], [0, 2, 2, 1]),
        ("predicted", [-1] * 4, [0, 1, 0, 0]),
        ("second", [-1] * 4, [2, 2, 2, 1]),
    ],
)
def test_classes_are_chosen_by_rank_and_label(target, labels, expected):
    found = chosen_classes(torch.from_numpy(LOGITS), np.array(labels), target)
    assert found.tolist() == expected


def test_classes_that_cannot_be_chosen():
    logits = torch.from_numpy(LOGITS)
    for target in ("label", "other"):
        with pytest.raises(CamstudyError, match="labels from -1 to -1, but the model has 3 classes"):
            chosen_classes(logits, np.full(4, -1), target)
    for target in ("second", "other"):
        with pytest.raises(CamstudyError, match=f"`{target}` needs two classes"):
            chosen_classes(logits[:, :1], np.zeros(4, np.int64), target)
    with pytest.raises(CamstudyError, match="`predict`, did you mean `predicted`"):
        chosen_classes(logits, np.zeros(4, np.int64), "predict")


def test_a_class_is_named_or_numbered():
    names = ["ant", "bee", "wasp"]
    assert class_number("bee", names) == 1
    assert class_number(2, None) == 2
    assert class_number("other", [*names, "other"]) is None
    with pytest.raises(CamstudyError, match="`wisp`, did you mean `wasp`"):
        class_number("wisp", names)
    with pytest.raises(CamstudyError, match="classes have no names; give the number"):
        class_number("bee", None)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("predicited", "unknown target `predicited`, did you mean `predicted`?"),
        ("eleven", "unknown target `eleven`"),
        (10, "found 10, but `scenes` has the classes 0 to 9"),
        ("", ""),
        (1.5, ""),
        (-1, ""),
    ],
)
def test_classes_that_the_data_lack_are_told_when_a_study_is_planned(config, target, text):  # noqa: F811
    put(config, "catalog.methods.gradcam.target", target)
    found = errors(config)
    assert found.keys() == {"catalog.methods.gradcam.target"}
    assert found["catalog.methods.gradcam.target"].startswith(text)


@pytest.mark.parametrize("target", ["second", "other", "7", 3])
def test_controls_are_tried_on_the_class_of_the_methods_whatever_it_is(target):
    own = {"catalog": {"methods": {name: {"target": target} for name in ("gradcam", "layer_cam")}}}
    names, _, _ = controls(own)
    assert names == [f"random_{target}", f"center_bias_{target}"]
