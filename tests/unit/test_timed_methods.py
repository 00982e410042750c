"""Methods are timed where a study asks for it, on as many images as it says: jobs, tables, identities, estimates."""

import pytest
from studies import make_method_inputs
from test_pipeline import Wildcards, study

from camstudy.pipeline import paths
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.inputs import Inputs
from camstudy.pipeline.resources import estimate
from camstudy.pipeline.results import Nameless, results
from camstudy.pipeline.sources import Sources
from camstudy.study.stated import resolved, stated_by
from camstudy.tables import TABLES

SHOWN = {"protocols": ["human_maps", "rise_fast"], "tables": ["faithfulness"], "figures": []}
FEW = {"protocols": {"few": {"family": "cost", "images": 3, "batch_size": 2}}}


def asks(**changes):
    return study(**SHOWN | changes)


def timed(of):
    """Return the protocols by which methods are timed for the table, and for anything."""
    beside = Inputs(of).beside_scores(Wildcards(table="faithfulness"))
    made = {path for path, _ in results(of, Nameless())}
    assert {*beside.get("timing", ())} == {path for path in made if path.count("/") == 5 and "/cost/" in path}
    return {path.split("/")[2] for path in beside.get("timing", ())}


@pytest.mark.parametrize(
    ("cost", "protocols"),
    [({}, set()), ({"cost": False}, set()), ({"cost": True}, {"speed"}), ({"cost": "few", "catalog": FEW}, {"few"})],
)
def test_no_method_is_timed_unless_the_study_asks(cost, protocols):
    of = asks(**cost)
    assert timed(of) == protocols
    assert of.shows("timing") == bool(protocols)
    assert ("cost" in {entry["family"] for entry in _stated(of)["protocols"].values()}) == bool(protocols)
    # Models are measured for other tables, or not at all.
    measured = [path for path, _ in results(of, Nameless()) if path.startswith(paths.cost("x", "y")[:13])]
    assert all(path.count("/") == 5 for path in measured)


def _stated(of):
    return stated_by(of.config, TABLES["faithfulness"])["catalog"]


def test_the_table_cost_is_made_in_any_case():
    of = study(tables=["cost"], figures=[])
    costs = [paths.cost("speed", model) for model in of.models]
    assert Inputs(of).beside_scores(Wildcards(table="cost"))["cost"] == costs
    # Operations that are counted anyway stand in the table of published values.
    published = {"tables": ["published", "cost"], "published": "config/published/dcls.csv"}
    assert "cost" in Inputs(study(**published, figures=[])).beside_scores(Wildcards(table="published"))
    alone = study(**published | {"tables": ["published"]}, figures=[])
    assert "cost" not in Inputs(alone).beside_scores(Wildcards(table="published"))


def test_what_is_written_down_says_it_where_it_could_be_shown():
    assert resolved(study().config)["cost"] == resolved(study(cost=True).config)["cost"] == "speed"
    assert resolved(asks().config)["cost"] is False
    assert resolved(asks(cost=True).config)["cost"] == "speed"


def test_images_are_those_of_the_protocol():
    job = {"dataset": "tiny", "model": "tiny_resnet", "method": "gradcam"}
    of = asks(cost="few", catalog=FEW | {"datasets": {"tiny": {"n_images": 500}}})
    taken = [
        estimate(of.config, "time_method", job | {"protocol": name}, gpu=True).seconds for name in ("few", "speed")
    ]
    row = of.config["resources"]["rules"]["time_method"]
    per_image = (taken[1] - taken[0]) / (32 - 3)
    assert 0 < per_image < row["seconds_per_image"]
    # What no protocol said before is in no identity.
    identities = [
        Identities(each, Sources(each), lambda unit: f"{unit}:1").timing("tiny", "tiny_resnet", "gradcam", "slow")
        for images in ({}, {"images": None}, {"images": 5})
        for each in [asks(catalog={"protocols": {"slow": {"family": "cost", "repeats": 3} | images}})]
    ]
    assert identities[0] == identities[1] != identities[2]


def test_times_are_told_with_their_images_and_never_bold():
    inputs = make_method_inputs()
    speed = inputs.study["catalog"]["protocols"]["speed"]
    table = TABLES["faithfulness"].function(inputs)
    assert not any("seconds_per_image" in {*row.bold, *row.underlined} for row in table.rows)
    assert any("of the first 32 images of the dataset" in note for note in table.notes)
    speed["images"] = 4
    assert any("of the first 4 images of the dataset" in note for note in TABLES["faithfulness"].function(inputs).notes)
