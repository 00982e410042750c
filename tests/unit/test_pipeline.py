"""What rules ask of a study: parts, GPUs, groups, inputs; without Snakemake."""

import copy
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT, TINY

from camstudy.core import code
from camstudy.core.errors import CamstudyError
from camstudy.pipeline import paths
from camstudy.pipeline.head import registered, results
from camstudy.pipeline.identities import Identities
from camstudy.pipeline.inputs import Inputs
from camstudy.pipeline.jobs import Jobs
from camstudy.pipeline.sources import Sources
from camstudy.study.checks import validate
from camstudy.study.study import Study

CATALOG = ("datasets", "models", "imagenet_models", "finetuning", "methods", "protocols")


def merged(*configs):
    found = {}
    for config in configs:
        for key, value in config.items():
            mapping = isinstance(value, dict) and isinstance(found.get(key), dict)
            found[key] = merged(found[key], value) if mapping else value
    return found


def study(**changes):
    """Return the tiny study with changes, catalogue and table of resources included."""
    files = [f"config/catalog/{name}.yaml" for name in CATALOG] + ["config/resources.yaml"]
    shipped = [yaml.safe_load((ROOT / file).read_text()) for file in files]
    config = merged(*shipped, copy.deepcopy(TINY), changes)
    return Study(validate(config, registered(ROOT), check_files=False))


class Wildcards(SimpleNamespace):
    def items(self):
        return vars(self).items()

    def __contains__(self, name):
        return name in vars(self)


LARGE = {"catalog": {"datasets": {"tiny": {"source": "digits", "split": "val", "n_images": 2500}}}}


def test_slow_methods_of_large_datasets_are_divided():
    large = study(**LARGE)
    names = ["/00000-01023", "/01024-02047", "/02048-02499"]
    assert large.map_parts("tiny", "tiny_resnet", "score_cam") == names
    assert large.map_parts("tiny", "tiny_resnet", "gradcam") == [""]
    assert large.map_parts("tiny", "control", "random") == [""]
    assert study().map_parts("tiny", "tiny_resnet", "score_cam") == [""]
    assert large.score_parts("tiny", "faithfulness") == names
    assert large.score_parts("tiny", "agreement") == [""]


@pytest.mark.parametrize("change", [{"resources": {"minutes_per_job": 1}}, {"explain": {"chunk_size": 3}}])
def test_no_estimate_decides_where_a_result_lies(change):
    other = study(**merged(LARGE, change))
    assert other.map_parts("tiny", "tiny_resnet", "rise") == study(**LARGE).map_parts("tiny", "tiny_resnet", "rise")


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 4), ("auto", 2), ("cpu", 0)])
def test_training_asks_for_the_gpus_of_its_recipe(device, gpus):
    """With `auto` on a machine with three, it takes two: three cannot share a pass of 16 evenly."""
    recipe = TINY["catalog"]["models"]["tiny_resnet"]["train"] | {"batch_size": 32, "accumulate": 2, "gpu": 4}
    jobs = Jobs(study(device=device, catalog={"models": {"tiny_resnet": {"train": recipe}}}))
    jobs._gpus_here = 3
    assert jobs.training_gpus(Wildcards(model="tiny_resnet")) == gpus
    assert jobs.gpus() == min(gpus, 1)


def test_parts_share_a_job_of_a_cluster_as_the_estimate_says():
    """1024 images of 4001 passes of 64x64 pixels at 5 ms are 28 minutes on a GPU: two of them take an hour."""
    settings = merged(LARGE, {"group_minutes": 0.01, "device": "cuda", "resources": {"minutes_per_job": 60}})
    jobs = Jobs(study(**settings))
    first = {"dataset": "tiny", "model": "tiny_resnet", "method": "rise"}
    parts = ["/00000-01023", "/01024-02047", "/02048-02499"]
    groups = [jobs.group(Wildcards(**first, part=part)) for part in parts]
    assert groups[0] == groups[1] == "tiny-tiny_resnet-rise-0"
    assert groups[2] != groups[0]
    settings["resources"]["minutes_per_job"] = 10
    assert Jobs(study(**settings)).group(Wildcards(**first, part=parts[0])) is None
    # Without a cluster nothing is grouped.
    assert Jobs(study(**LARGE)).group(Wildcards(**first, part=parts[0])) is None


def test_a_short_study_of_a_model_is_one_job():
    jobs = Jobs(study(group_minutes=1000, device="cuda"))
    assert jobs.group(Wildcards(model="tiny_resnet")) == "tiny_resnet"
    assert Jobs(study(group_minutes=0.01, device="cuda")).group(Wildcards(model="tiny_resnet")) is None


def test_short_steps_run_beside_snakemake_where_the_profile_says_so():
    jobs = [{"dataset": "tiny"}]
    assert not Jobs(study()).is_brief("score", jobs)
    assert Jobs(study(local_seconds=30)).is_brief("score", jobs)
    # 24 images of 20 ms.
    assert not Jobs(study(local_seconds=0.4)).is_brief("score", jobs)


def test_controls_are_read_once_for_all_models():
    inputs = Inputs(study())
    assert inputs.heatmaps(Wildcards(dataset="tiny", model="tiny_resnet", method="random")) == [
        paths.heatmaps("tiny", "control", "random")
    ]


def test_a_family_gets_what_its_record_says():
    inputs, where = Inputs(study()), {"dataset": "tiny", "model": "tiny_resnet", "method": "gradcam"}
    maps, control = [paths.heatmaps("tiny", "tiny_resnet", "gradcam")], [paths.heatmaps("tiny", "control", "random")]
    model, prediction = [paths.model("tiny_resnet")], [paths.prediction("tiny", "tiny_resnet")]
    expected = {
        ("human_maps", "gradcam"): {"heatmaps": maps, "model": [], "prediction": []},
        ("floors", "gradcam"): {"heatmaps": maps, "model": [], "prediction": []},
        ("boxes", "gradcam"): {"heatmaps": maps, "model": [], "prediction": prediction},
        ("rise", "gradcam"): {"heatmaps": maps, "model": model, "prediction": []},
        ("rise", "random"): {"heatmaps": control, "model": model, "prediction": []},
        ("cascade", "gradcam"): {"heatmaps": [], "model": model, "prediction": []},
    }
    for (protocol, method), files in expected.items():
        found = inputs.evidence(Wildcards(**where | {"protocol": protocol, "method": method}))
        assert found == files | {"fixations": []}
    boxes = inputs.evidence(Wildcards(dataset="tiny", model="control", method="random", protocol="boxes"))
    assert boxes == {"heatmaps": control, "model": [], "prediction": [], "fixations": []}
    with pytest.raises(CamstudyError, match="`cascade` explains models anew, and the control `random` explains none"):
        inputs.evidence(Wildcards(**where | {"protocol": "cascade", "method": "random"}))


def test_every_result_has_an_identity_of_its_own():
    tiny = study()
    found = list(results(tiny, Identities(tiny, Sources(tiny))))
    assert len({path for path, _ in found}) == len(found) == 28
    # Tables and figures may state the same of the same; what they are made of differs.
    shared = [identity for path, identity in found if "studies" not in path]
    assert len(set(shared)) == len(shared)
    assert all(identity.startswith(("code=", "architecture=", "ceiling=")) for _, identity in found)


def test_revisions_are_asked_for_by_the_names_of_their_units():
    asked = []

    def revision(unit):
        asked.append(unit)
        return unit.replace(" ", "")

    tiny = study()
    Identities(tiny, Sources(tiny), revision).scores("tiny", "tiny_resnet_dcls", "gradcam", "human_maps")
    assert {
        "score",
        "family:agreement",
        "metric:spearman",
        "explain",
        "method:gradcam",
        "train",
        "variant:dcls",
    } <= set(asked)
    assert not {"method:threshold_gradcam", "family:faithfulness"} & set(asked)


NETWORK = "WIDTH = 16\n\n\ndef unused():\n    return 1\n\n\ndef net(num_classes):\n    return WIDTH * num_classes\n"


@pytest.mark.parametrize(
    ("edit", "changes"),
    [
        (lambda text: text.replace("WIDTH = 16", "WIDTH = 8"), True),
        (lambda text: f"# A comment.\n{text}", False),
        (lambda text: text.replace("return 1\n", "return 2\n"), False),
    ],
)
def test_a_network_of_ones_own_counts_by_the_code_that_it_uses(tmp_path, monkeypatch, edit, changes):
    monkeypatch.syspath_prepend(tmp_path)
    entry = {"tiny_resnet": {"arch": "own_network.net", "kwargs": {}, "train": None, "weights": "random"}}
    tiny, found = study(catalog={"models": entry}), []
    for text in (NETWORK, edit(NETWORK)):
        (tmp_path / "own_network.py").write_text(text)
        # A process plans once.
        code._code_of.cache_clear()
        code._folders.cache_clear()
        identity = Identities(tiny, Sources(tiny))
        found.append([identity.model("tiny_resnet"), identity.explanation("tiny", "tiny_resnet", "gradcam")])
    assert (found[0] != found[1]) == changes
    assert (found[0][0] != found[1][0]) == (found[0][1] != found[1][1])


def test_what_only_labels_tell_is_not_asked_of_images_without_labels():
    mine = {"source": "folder", "root": "photos", "labels": None}
    asked = {
        "dataset": "mine",
        "protocols": ["rise"],
        "tables": ["faithfulness"],
        "figures": [],
        "controls": ["random"],
    }
    asked |= {"methods": ["gradcam"], "sweep": {}}
    catalog = {"datasets": {"mine": mine}, "methods": {"gradcam": {"target": "predicted"}}}
    predicted = [paths.prediction("tiny", model) for model in ("tiny_resnet", "tiny_resnet_dcls")]
    assert Inputs(study()).recognition() == predicted
    assert Inputs(study(**asked, catalog=catalog)).recognition() == []
    assert Inputs(study(**asked, catalog=catalog, prediction_dataset="tiny")).recognition() == predicted
