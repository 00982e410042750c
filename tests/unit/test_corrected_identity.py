"""What was corrected is made anew, and nothing else: identities before and after, as digests of what decides them."""

import pytest
from test_pipeline import study

from camstudy.core.identity import digest, view
from camstudy.explain.methods import bind
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.sources import Sources
from camstudy.pipeline.views import EXPLANATION


def as_before(tiny, method):
    """The method's part of an identity from before images of the authors' geometry were resized as by TensorFlow."""
    entry = tiny.catalog["methods"][method]
    bound = bind(entry["method"], entry["parameters"]).parameters
    parameters = view(bound, bound, f"parameters {entry['method']}")
    return digest({**view(entry, EXPLANATION, "method"), "parameters": parameters})


@pytest.mark.parametrize(("method", "anew"), [("gradcam", False), ("gradcam_authors", True)])
def test_maps_of_the_authors_geometry_alone_are_made_anew(method, anew):
    tiny = study(methods=[method])
    identity = Identities(tiny, Sources(tiny)).explanation("tiny", "tiny_resnet", method)
    assert (f"method={as_before(tiny, method)}" not in identity) == anew


def protocol(**keys):
    """The identity of scores under a protocol of one's own."""
    tiny = study(protocols=["mine"], tables=[], figures=[], catalog={"protocols": {"mine": keys}})
    return Identities(tiny, Sources(tiny)).scores("tiny", "tiny_resnet", "gradcam", "mine")


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("faithfulness", {"ties": "row_major", "removed": "rounded"}),
        ("localization", {"components": "largest", "pointing_tolerance": 15}),
    ],
)
def test_new_keys_at_the_value_of_old_decide_nothing(family, keys):
    assert protocol(family=family, **keys) == protocol(family=family)


@pytest.mark.parametrize(
    ("family", "keys"),
    [
        ("faithfulness", {"ties": "reversed"}),
        ("faithfulness", {"ties": "mean"}),
        ("faithfulness", {"removed": "truncated"}),
        ("localization", {"components": "all"}),
        ("localization", {"pointing_tolerance": {"pixels": 15, "of": "photograph"}}),
    ],
)
def test_new_keys_at_other_values_make_other_scores(family, keys):
    assert protocol(family=family, **keys) != protocol(family=family)


@pytest.mark.parametrize(("jpeg", "other"), [({"jpeg": "exact"}, False), ({"jpeg": "fast"}, True)])
def test_how_files_are_decoded_decides_data(jpeg, other):
    def data(**keys):
        entry = {"source": "clickme", "shards": ["a.tfrecords"], "n_images": 10} | keys
        return Identities(found := study(catalog={"datasets": {"mine": entry}}), Sources(found)).dataset("mine")

    assert (data(**jpeg) != data()) == other
