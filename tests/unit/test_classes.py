"""Models and data of other classes are told apart when a study is planned: by numbers, and by names where known."""

import pytest
import trees
from test_listings import here  # noqa: F401  (a fixture)
from test_pipeline import study
from timm.data import ImageNetInfo

from camstudy.core.errors import CamstudyError
from camstudy.data.sources import Listing
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.listings import Listings
from camstudy.pipeline.sources import Sources
from camstudy.study.classes import imagenet_synsets, refuse_other_classes

TIMM = {"arch": "resnet50.a1_in1k", "weights": {"timm": True}}
SYNSETS = ImageNetInfo("imagenet-1k").label_names()
FIRST = "models and data have different classes:\n  "


def mistakes(models, datasets, listed=None, **settings):
    """Return the message about a study of these models; the first dataset is that which they are scored on."""
    chosen = {"models": list(models), "comparisons": [], "dataset": next(iter(datasets)), "protocols": ["rise_fast"]}
    shown = {"tables": ["faithfulness"], "figures": [], "controls": []}
    config = study(catalog={"models": models, "datasets": datasets}, **chosen, **shown, **settings).config
    try:
        refuse_other_classes(config, lambda name: (listed or {}).get(name))
    except CamstudyError as error:
        return str(error)
    return None


PHOTOS = {"source": "imagenet", "root": "nowhere"}
NET = {"arch": "mynet.Net", "weights": "random"}


def test_the_demo_and_gaze_are_well():
    assert mistakes({"n": NET | {"num_classes": 10}}, {"tiny": {"source": "digits", "split": "val"}}) is None
    assert mistakes({"n": NET}, {"eyes": {"source": "mit1003", "root": "nowhere"}}) is None
    assert mistakes({"n": TIMM}, {"photos": PHOTOS}, {"photos": Listing(50_000, SYNSETS)}) is None


def test_ten_folders_and_a_thousand_classes():
    models, listed = {"n": TIMM}, {"photos": Listing(500, SYNSETS[:10])}
    assert mistakes(models, {"photos": PHOTOS | {"num_classes": 10}}, listed) == (
        f"{FIRST}`catalog.models.n.num_classes`: found 1000, but `photos`, on which it is scored, has 10 classes; take "
        "a network of these classes, or train one (`num_classes: 10` and `train`)"
    )
    # As they are before anyone says that there are ten.
    assert mistakes(models, {"photos": PHOTOS}, listed) == (
        f"{FIRST}`catalog.datasets.photos.num_classes`: found 1000, but there are 10 classes. Labels follow their "
        "sorted names and mean nothing if some are missing; complete them, or set `num_classes: 10` for models of "
        "these classes"
    )


def test_every_model_and_every_dataset_is_looked_at():
    train = {"dataset": "tiny_train"}
    models = {"a": NET | {"num_classes": 20}, "b": NET, "c": NET | {"train": train}}
    datasets = {"things": {"source": "voc2012", "root": "nowhere"}}
    found = mistakes(models, datasets).split("\n  ")
    assert [line.split(";")[0] for line in found[1:]] == [
        "`catalog.models.b.num_classes`: found 1000, but `things`, on which it is scored, has 20 classes",
        "`catalog.models.c.num_classes`: found 1000, but `tiny_train`, on which it is trained, has 10 classes",
    ]
    found = mistakes({"a": NET | {"num_classes": 20}}, datasets | {"photos": PHOTOS}, prediction_dataset="photos")
    assert "found 20, but `photos`, on which it is scored, has 1000 classes" in found


def test_as_many_classes_that_are_others():
    others = [*SYNSETS[:3], "n99999999", *SYNSETS[4:]]
    listed = {"photos": Listing(5, others)}
    assert mistakes({"n": TIMM}, {"photos": PHOTOS}, listed) == (
        f"{FIRST}`catalog.models.n`: class 3 of timm's weights `resnet50.a1_in1k` is `{SYNSETS[3]}`, of `photos` it is "
        "`n99999999`; take a network of the classes of the data, or train one"
    )
    # An old name is what timm maps it to; of what weights have learnt that are not timm's, nothing is known.
    assert "`resnet50.tv_in1k`" in mistakes({"n": TIMM | {"arch": "tv_resnet50"}}, {"photos": PHOTOS}, listed)
    assert mistakes({"n": TIMM | {"weights": {"url": "https://a/b.pth"}}}, {"photos": PHOTOS}, listed) is None


def test_a_network_has_the_classes_of_what_it_is_trained_on():
    shards = {"source": "clickme", "shards": ["a"], "num_classes": 3, "human_ceiling": 1, "human_maps": "recorded"}
    datasets = {
        "mine": shards | {"class_names": ["cat", "dog", "fire_truck"]},
        "theirs": shards | {"class_names": ["Cat", "dog", "fire truck"]},
        "sorted": shards | {"class_names": ["dog", "cat", "fire truck"]},
        "numbers": shards,
        "synsets": shards | {"class_names": ["n00000001", "n00000002", "n00000003"]},
    }

    def trained(name):
        first = NET | {"num_classes": 3, "train": {"dataset": name}}
        return {"n": NET | {"num_classes": 3, "weights": {"model": "first"}}, "first": first}

    for name in ("mine", "theirs", "numbers", "synsets"):
        assert mistakes(trained(name), datasets) is None, name
    assert mistakes(trained("sorted"), datasets).split("\n  ")[1] == (
        "`catalog.models.n`: class 0 of `sorted`, on which it is trained, is `dog`, of `mine` it is `cat`; take a "
        "network of the classes of the data, or train one"
    )


def test_synsets_are_those_of_timms_labels():
    assert list(imagenet_synsets()) == SYNSETS


@pytest.mark.parametrize("layout", [trees.as_classes, trees.as_distributed])
def test_photographs_that_are_there(here, layout):  # noqa: F811
    """Four classes, as folders or as the development kit has them, of a network of a thousand."""
    (here / "photos").mkdir()
    layout(here / "photos")
    photos = PHOTOS | {"root": "photos"}
    models = {"n": TIMM | {"train": {"dataset": "photos"}}}
    chosen = {"models": ["n"], "comparisons": [], "dataset": "photos", "protocols": ["rise_fast"], "controls": []}
    found = study(catalog={"models": models, "datasets": {"photos": photos}}, tables=[], figures=[], **chosen)
    known = Listings(found.catalog["datasets"], Identities(found, Sources(found)).dataset)
    if layout is trees.as_classes:
        # Some of ImageNet's classes have their numbers; with another folder it is no part of it.
        refuse_other_classes(found.config, known.listing)
        (here / "photos/n99999999").mkdir()
        (here / "photos/n99999999/x.JPEG").write_bytes(trees.jpeg(1))
        known = Listings(found.catalog["datasets"], Identities(found, Sources(found)).dataset)
    with pytest.raises(CamstudyError, match=r"photos\.num_classes`: found 1000, but there are [45] classes"):
        refuse_other_classes(found.config, known.listing)
