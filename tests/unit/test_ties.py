"""The order of tied pixels in insertion, deletion and perturbation: against one forward pass at a time, and by hand."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from studies import make_method_inputs
from torch import nn

from camstudy.analysis.published import join_published, read_published
from camstudy.core.errors import CamstudyError
from camstudy.core.identity import view
from camstudy.metrics.faithfulness import Protocol, deletion_auc, insertion_auc, positive_perturbation, tied_pixels
from camstudy.metrics.probing import pixel_ranks, probe, tied_share
from camstudy.metrics.registry import score_family
from camstudy.study.claims import claim, refuse_taken
from camstudy.study.protocols import shipped
from camstudy.tables import TABLES

torch.set_num_threads(1)

SIDE = 8
PIXELS = SIDE**2
RNG = np.random.default_rng(0)


class Sum(nn.Module):
    """Two classes; their log odds are a weighted sum of the grey levels of an image in [0, 1], mean 0 and std 1."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.from_numpy(weights).float())

    def forward(self, x):
        odds = (x.mean(1) * self.weights).sum((1, 2)) - 0.2
        return torch.stack([odds, torch.zeros_like(odds)], 1)


WEIGHTS = RNG.standard_normal((SIDE, SIDE))
# One tie; all but one pixel; plateaus; none.
FAKE = np.ones((SIDE, SIDE))
FAKE[0, 0] = 0
MAPS = np.stack([np.full((SIDE, SIDE), 3.0), FAKE, np.round(RNG.random((SIDE, SIDE)) * 3), RNG.random((SIDE, SIDE))])
IMAGES = RNG.random((len(MAPS), SIDE, SIDE))


def ordered(one, ties):
    """Pixel numbers from the most salient on, by Python's sort, which is stable."""
    if ties == "reversed":
        return sorted(range(PIXELS), key=lambda pixel: one.flat[pixel])[::-1]
    return sorted(range(PIXELS), key=lambda pixel: -one.flat[pixel])


def probability(pixels):
    return 1 / (1 + np.exp(0.2 - (pixels * WEIGHTS).sum()))


def curves(image, order, size):
    """Insertion into black and deletion to black, one pixel set at a time, and top-1 without the first pixels."""
    insertion, deletion = [], []
    for shown in range(0, PIXELS + size, size):
        there = np.isin(np.arange(PIXELS), order[:shown]).reshape(SIDE, SIDE)
        insertion.append(probability(image * there))
        deletion.append(probability(image * ~there))
    return insertion, deletion


def correct(image, order, count):
    there = ~np.isin(np.arange(PIXELS), order[:count]).reshape(SIDE, SIDE)
    return probability(image * there) > 0.5


def ask(protocol, maps=MAPS, images=IMAGES):
    seen, classes = torch.from_numpy(images[:, None].repeat(3, 1)).float(), np.zeros(len(maps), int)
    found, _ = probe(
        Sum(WEIGHTS), seen, maps, classes, classes, mean=[0.0] * 3, std=[1.0] * 3, protocol=protocol, perturbation=True
    )
    return found


BLACK = Protocol(step=224**2 * 5 // PIXELS, start="black", target="black")


@pytest.mark.parametrize("ties", ["row_major", "reversed"])
def test_ranks_follow_the_stated_order(ties):
    maps = MAPS.astype(np.float32)
    maps[3, 0, :4] = [0.0, -0.0, 0.0, -0.0]
    ranks = pixel_ranks(torch.from_numpy(maps), ties).numpy().reshape(len(maps), -1)
    for one, found in zip(maps, ranks, strict=True):
        assert np.argsort(found).tolist() == ordered(one, ties)


def test_reversed_is_the_released_order_of_a_constant_map():
    """A stable ascending sort, turned round: from the last pixel up."""
    ranks = pixel_ranks(torch.zeros(1, 2, 3), "reversed")[0, 0]
    assert ranks.tolist() == [[5, 4, 3], [2, 1, 0]]
    assert np.argsort(ranks.flatten().numpy()).tolist() == np.flip(np.argsort(np.zeros(6), kind="stable")).tolist()


@pytest.mark.parametrize("ties", ["row_major", "reversed", "mean"])
def test_curves_and_perturbation_equal_one_pass_at_a_time(ties):
    protocol = dataclasses.replace(BLACK, ties=ties)
    size = protocol.size(PIXELS)
    assert size == 5
    found = ask(protocol)
    scores = score_family("faithfulness", found)
    orders = ("row_major", "reversed") if ties == "mean" else (ties,)
    for i, (image, one) in enumerate(zip(IMAGES, MAPS, strict=True)):
        expected = np.mean([curves(image, ordered(one, way), size) for way in orders], axis=0)
        np.testing.assert_allclose(found["insertion_curve"][i], expected[0], atol=1e-6)
        np.testing.assert_allclose(found["deletion_curve"][i], expected[1], atol=1e-6)
        hits = [correct(image, ordered(one, way), round(q * PIXELS / 10)) for way in orders for q in range(1, 10)]
        assert scores["positive_perturbation"][i] == pytest.approx(np.mean(hits))
    # The areas of `mean` are the means of the areas.
    if ties == "mean":
        for name, area in (("insertion_curve", insertion_auc), ("deletion_curve", deletion_auc)):
            both = [area(ask(dataclasses.replace(BLACK, ties=way))[name]) for way in orders]
            np.testing.assert_allclose(area(found[name]), np.mean(both, axis=0), atol=1e-7)


def test_only_maps_with_ties_depend_on_their_order():
    first, last = (score_family("faithfulness", ask(dataclasses.replace(BLACK, ties=ties))) for ties in ORDERS)
    moved = np.abs(first["insertion_auc"] - last["insertion_auc"])
    assert (moved[:3] > 1e-3).all()
    assert moved[3] == 0


ORDERS = ("row_major", "reversed")


def test_mean_has_no_direction():
    """Of a constant map: the same for an image and a network turned upside down."""
    upright = ask(dataclasses.replace(BLACK, ties="mean"), MAPS[:1], IMAGES[:1])
    weights = WEIGHTS[::-1, ::-1].copy()
    seen = torch.from_numpy(IMAGES[:1, None, ::-1, ::-1].repeat(3, 1)).float()
    turned, _ = probe(
        *(Sum(weights), seen, MAPS[:1], np.zeros(1, int), np.zeros(1, int)),
        mean=[0.0] * 3,
        std=[1.0] * 3,
        protocol=dataclasses.replace(BLACK, ties="mean"),
    )
    np.testing.assert_allclose(turned["insertion_curve"], upright["insertion_curve"], atol=1e-6)


def test_tied_pixels_are_those_of_the_most_frequent_value():
    maps = np.zeros((5, 2, 4), np.float32)
    maps[1] = np.arange(8).reshape(2, 4)
    maps[2, 0] = [1, 2, 2, 2]
    maps[3, 0] = [0.0, -0.0, 1, 2]
    maps[3, 1] = [3, 4, 5, 5]
    maps[4, 0, 0] = 1
    np.testing.assert_allclose(tied_share(maps), [1, 1 / 8, 4 / 8, 2 / 8, 7 / 8])
    assert tied_pixels(np.array([0.5])) == 0.5
    assert score_family("faithfulness", ask(BLACK))["tied_pixels"][:2].tolist() == [1, 63 / 64]
    with pytest.raises(ValueError, match="lie in"):
        tied_pixels(np.array([1.5]))


def test_pixels_removed_are_rounded_or_truncated():
    """Of 224x224 pixels, as int(base * step) has them."""
    truncated = [int(224**2 * step) for step in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
    assert truncated[0] == 5017
    assert Protocol(removed="truncated").counts(224**2).tolist() == truncated
    assert Protocol().counts(224**2).tolist() == [5018, 10035, 15053, 20070, 25088, 30106, 35123, 40141, 45158]
    maps, images = RNG.random((2, 40, SIDE, SIDE))
    found = ask(dataclasses.replace(BLACK, removed="truncated"), maps, images)["positive_correct"]
    counts = [int(PIXELS * q / 10) for q in range(1, 10)]
    for image, one, hits in zip(images, maps, found, strict=True):
        assert hits.tolist() == [correct(image, ordered(one, "row_major"), count) for count in counts]
    assert (found != ask(BLACK, maps, images)["positive_correct"]).any()


def test_answers_of_two_orders_are_nine_each():
    hits = np.zeros((1, 18), bool)
    hits[0, :9] = True
    assert positive_perturbation(hits) == 0.5
    with pytest.raises(ValueError, match="expected bool"):
        positive_perturbation(np.zeros((1, 10), bool))


def test_protocols_of_released_code_take_ties_from_the_last_pixel_up():
    known = {name: entry for name, entry in shipped().items() if entry["family"] == "faithfulness"}
    assert {name for name, entry in known.items() if entry["ties"] == "reversed"} == {
        *("rise", "rise_fast", "castream", "castream_32", "castream_perturbation")
    }
    assert {name for name, entry in known.items() if entry["removed"] == "truncated"} == {
        *("castream", "castream_32", "castream_perturbation")
    }
    # As it was before there were such keys, also for its identity.
    before = known["rise_fast_perturbation"]
    assert not {"ties", "removed"} & view(before, before, "protocol faithfulness").keys()


def test_what_was_noted_before_a_key_existed_stands_for_its_introduced_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def study(name, **keys):
        entry = {"family": "faithfulness", "title": None, "step": 500} | keys
        return {"study": name, "n_images": None, "catalog": {"protocols": {"mine": entry}}}

    claim(study("first"), "mine")
    refuse_taken(study("second", ties="row_major", removed="rounded"), ["mine"])
    with pytest.raises(CamstudyError, match='ties "row_major", yours has ties "reversed"'):
        refuse_taken(study("second", ties="reversed"), ["mine"])


HEADER = "dataset,model,variant,method,catalog_model,catalog_method,metric,value,unit,table,page,source,verified,note"


def test_published_values_are_joined_to_the_order_that_they_hold_for(tmp_path):
    path = tmp_path / "values.csv"
    lines = [
        "d,Net,,Fake-CAM,net,fake_cam,insertion_auc,50.7,%,t,,the slides,false,,ties=reversed;step=1792",
        "d,Net,,Fake-CAM,net,fake_cam,average_drop,0.8,%,t,,the slides,false,",
    ]
    path.write_text("\n".join([f"{HEADER},protocol", *lines]) + "\n")
    columns = ["dataset", "model", "method", "protocol", "metric", "mean"]
    scores = pd.DataFrame(
        [["d", "net", "fake_cam", name, metric, 0.5] for name, metric in itertools.product("abc", METRICS)],
        columns=columns,
    )
    protocols = {"a": {"ties": "reversed", "step": 1792}, "b": {"ties": "mean", "step": 1792}, "c": {"step": 1792}}
    joined = join_published(scores, read_published(path), protocols=protocols).set_index(["protocol", "metric"])
    assert joined["published"].notna().unstack().loc[:, "insertion_auc"].tolist() == [True, False, False]
    assert joined["published"].notna().unstack().loc[:, "average_drop"].all()
    path.write_text(path.read_text().replace("ties=reversed;step", "ties: reversed;step"))
    with pytest.raises(CamstudyError, match="line 2: `protocol` is `ties: reversed;step=1792`, expected settings such"):
        read_published(path)


METRICS = ("insertion_auc", "average_drop")


def test_tables_say_which_maps_are_tied():
    inputs = make_method_inputs()
    rows = [["boxes", "net", name, "tied_pixels", share, 0, 1, 48, 0] for name, share in SHARES.items()]
    columns = list(inputs.scores.columns)
    tied = pd.concat([inputs.scores, pd.DataFrame(rows, columns=columns)], ignore_index=True)
    entry = inputs.study["catalog"]["protocols"]["rise_blunt"]
    told = {}
    for ties in ("row_major", "reversed", "mean"):
        protocols = inputs.study["catalog"]["protocols"] | {"rise_blunt": entry | {"ties": ties}}
        study = inputs.study | {"catalog": inputs.study["catalog"] | {"protocols": protocols}}
        table = TABLES["faithfulness"].function(dataclasses.replace(inputs, scores=tied, study=study))
        told[ties] = " ".join(table.notes)
    assert "Tied pixels, of the most frequent value of a map, come from the last up;" in told["reversed"]
    assert "Fake-CAM: 100 %; Grad-CAM: 12 %." in told["reversed"]
    assert "blur 5, normalize resized, ties reversed)" in told["reversed"]
    assert "from the first down and from the last up, of which the mean counts" in told["mean"]
    assert "ties" not in told["row_major"].split("cannot be compared")[0]
    assert not any("Tied" in note for note in TABLES["faithfulness"].function(inputs).notes)


SHARES = {"fake_cam": 0.99998, "gradcam": 0.12, "opti_cam": 0.01}
