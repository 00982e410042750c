"""What human maps are is stated, shown, and decides a dataset only where it is stated otherwise than ever."""

import dataclasses

import pytest
from studies import make_inputs
from test_pipeline import study

from camstudy.pipeline.identities import Identities
from camstudy.pipeline.sources import Sources
from camstudy.tables.notes import about

SHARDS = {"source": "clickme", "shards": ["a.tfrecords"]}


@pytest.mark.parametrize(
    ("maps", "note"),
    [
        ("recorded", "Human maps are recorded."),
        (
            "simulated",
            "Human maps are simulated, not recorded from people: alignment says how well a map agrees with the "
            "simulation.",
        ),
        (
            "model",
            "Human maps are made by a model, not recorded from people: alignment says how well a map agrees with that "
            "model.",
        ),
    ],
)
def test_tables_say_what_human_maps_are(maps, note):
    inputs = make_inputs()
    inputs = dataclasses.replace(inputs, dataset={**inputs.dataset, "human_maps": maps})
    assert [*about(inputs, inputs.scores)][1] == note


def test_what_is_not_stated_makes_nothing_anew():
    """As before there was a choice, when all were recorded; data to train on need not say it."""
    stated = {"recorded": {"human_maps": "recorded"}, "unstated": {}, "model": {"human_maps": "model"}}
    found = study(catalog={"datasets": {name: SHARDS | entry for name, entry in stated.items()}})
    identity = Identities(found, Sources(found))
    assert identity.dataset("recorded") == identity.dataset("unstated") != identity.dataset("model")


def test_the_catalogue_states_what_clickmes_own_are():
    for name in ("clickme_val", "clickme_train"):
        entry = study().catalog["datasets"][name]
        assert (entry["human_ceiling"], entry["human_maps"]) == (0.65753, "recorded")
