"""Configuration: every kind of mistake is named and all are reported at once; defaults are filled in."""

import copy
import datetime
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from camstudy.core.errors import CamstudyError
from camstudy.core.identity import canonical
from camstudy.core.names import untried_name
from camstudy.explain.methods import METHODS, bind
from camstudy.study.checks import validate
from camstudy.study.protocols import metric_names, shipped
from camstudy.study.schema import load_schema, resolve
from camstudy.study.study import Study

ROOT = Path(__file__).parents[2]

STUDY = """
study: tiny
dataset: scenes
models: [net, net_dcls]
methods: [gradcam, threshold_gradcam]
controls: [random]
comparisons: [{baseline: net, variant: net_dcls}]
protocols: [people]
catalog:
  datasets:
    scenes: {source: digits, split: val}
    scenes_train: {source: digits, split: train, n_images: 100}
  models:
    net: {title: Net, arch: resnet18, weights: random}
    net_dcls:
      arch: resnet18
      variant: {dcls: {replace: conv3x3}}
      train: {dataset: scenes_train, epochs: 2}
  methods:
    gradcam: {method: gradcam}
    threshold_gradcam: {method: threshold_gradcam, postprocess: {floor: 0.3}}
    random: {method: random}
  protocols:
    people: {family: agreement}
    masked: {family: faithfulness}
    boxed: {family: localization}
    floors: {family: sweep}
    speed: {family: cost}
"""
NET = "catalog.models.net"
TRAIN = "catalog.models.net_dcls.train"
DCLS = "catalog.models.net_dcls.variant.dcls"
FLOORS, SPEED = "catalog.protocols.floors.floors", "catalog.protocols.speed"
STATED = {"human_ceiling": 0.7, "human_maps": "recorded"}
CLICKME = {"source": "clickme", "shards": ["a.tfrecords"]}
KNOWN = {"methods": ["gradcam", "threshold_gradcam"], "controls": ["random", "center_bias"]}
GAZE_CONTROLS = ["gaze_center_bias", "human_observers"]


@pytest.fixture
def config():
    return yaml.safe_load(STUDY)


def put(config, path, value):
    """Set the value at a dotted path, making mappings on the way; return the configuration."""
    *parents, last = path.split(".")
    part = config
    for key in parents:
        part = part.setdefault(key, {})
    part[last] = value
    return config


def drop(config, path):
    *parents, last = path.split(".")
    part = config
    for key in parents:
        part = part[key]
    del part[last]
    return config


def errors(config, **options):
    """Return the reported mistakes as {place: text}; the first line counts them."""
    with pytest.raises(CamstudyError) as caught:
        validate(config, **options)
    first, *lines = str(caught.value).split("\n  ")
    assert first == f"the configuration has {len(lines)} error{'s' * (len(lines) != 1)}:"
    found = dict(re.fullmatch(r"`(.*?)`: (.*)", line).groups() for line in lines)
    assert len(found) == len(lines)
    return found


# Defaults


def test_a_correct_configuration_passes_and_is_left_alone(config):
    before = copy.deepcopy(config)
    validate(config, KNOWN)
    assert config == before


def test_defaults_are_filled_at_every_depth(config):
    full = validate(config)
    assert full["device"] == "auto"
    assert full["statistics"] == {"confidence": 0.95, "resamples": 9999, "alpha": 0.05, "correction": "holm"} | {
        "stars": "both"
    }
    assert full["catalog"]["datasets"]["scenes"]["human_ceiling"] == "from_halves"
    assert full["catalog"]["models"]["net_dcls"]["variant"]["dcls"] == {
        "replace": "conv3x3",
        "kernel_size": 17,
        "kernel_count": 34,
        "version": "v1",
        "init": "preserve",
    }
    recipe = full["catalog"]["models"]["net_dcls"]["train"]
    assert (recipe["epochs"], recipe["optimizer"]) == (2, "adamw")
    assert recipe["positions"]["learning_rate_factor"] == 5
    assert full["catalog"]["models"]["net"]["train"] is None


def test_a_part_of_a_mapping_keeps_its_other_defaults(config):
    full = validate(put(config, "statistics", {"alpha": 0.01}))
    assert (full["statistics"]["alpha"], full["statistics"]["resamples"]) == (0.01, 9999)


def test_optional_settings_left_at_null_are_absent(config):
    put(config, "catalog.models.net.input", {"size": 112, "mean": None})
    put(config, "catalog.models.net.target_layer", {"path": "layer3"})
    full = validate(config)
    model = full["catalog"]["models"]["net"]
    assert model["input"] == {"size": 112}
    assert model["variant"] == {}
    assert model["target_layer"] == {"path": "layer3"}
    assert full["catalog"]["methods"]["gradcam"]["postprocess"] == {}
    assert full["catalog"]["methods"]["threshold_gradcam"]["postprocess"] == {"floor": 0.3}


def test_each_kind_of_entry_gets_its_own_defaults(config, tmp_path):
    shard = tmp_path / "val-0.tfrecords"
    shard.touch()
    put(config, "catalog.datasets.people", {"source": "clickme", "shards": [str(shard)]})
    put(config, "catalog.models.file", {"arch": "resnet18", "weights": {"path": "absent.safetensors"}})
    put(config, "catalog.models.timm", {"arch": "resnet18.a1_in1k", "weights": {"timm": True}})
    catalog = validate(config)["catalog"]
    # Of data that may be anyone's, nothing is taken for granted.
    assert [catalog["datasets"]["people"][key] for key in ("human_ceiling", "human_maps")] == [None, None]
    assert "split" not in catalog["datasets"]["people"]
    unchecked = {"sha256": None, "key": None, "include_variant": False, "names": "by_name"}
    assert catalog["models"]["file"]["weights"] == {"path": "absent.safetensors", **unchecked}
    assert catalog["models"]["timm"]["weights"] == {"timm": True, "url": None, "sha256": None}
    assert catalog["models"]["net_dcls"]["weights"] == "random"


def test_shards_to_download_need_no_files(config):
    put(config, "catalog.datasets.scenes", {"source": "clickme", **STATED})
    put(config, "catalog.datasets.scenes.shards", {"url": "https://a.org/val-{i}.tfrecords", "count": 17})
    entry = validate(config)["catalog"]["datasets"]["scenes"]
    expected = {"url": "https://a.org/val-{i}.tfrecords", "count": 17, "records": None, "sha256": None}
    assert entry["shards"] == expected
    assert entry["sample_seed"] is None


def test_mistakes_in_shards_to_download(config):
    shards = {"url": "https://a.org/val.tfrecords", "count": 0, "sha256": ["f" * 64, "f" * 63], "size": 9}
    put(config, "catalog.datasets.scenes", {"source": "clickme", "shards": shards, **STATED})
    place = "catalog.datasets.scenes.shards"
    found = errors(config)
    assert set(found) == {f"{place}.url", f"{place}.count", f"{place}.sha256[1]", f"{place}.size"}
    assert found[f"{place}.url"].endswith("begins with https://, http:// or file:// and has `{i}` in it")
    for wrong in ("a.tfrecords", [], None):
        put(config, place, wrong)
        assert "a list of at least one path, or a mapping with `url` and `count`" in errors(config)[place]


def test_what_follows_from_other_keys_is_put_in_place(config):
    full = validate(put(config, "seed", 7))
    assert full["comparisons"] == [{"title": "Net", "baseline": "net", "variant": "net_dcls"}]
    assert full["catalog"]["models"]["net_dcls"]["title"] == "net_dcls"
    assert full["catalog"]["methods"]["gradcam"]["title"] == "gradcam"
    assert full["catalog"]["protocols"]["people"]["title"] == "people"


def test_the_study_s_seed_changes_no_entry(config):
    put(config, f"{NET}.seed", 3)
    catalogs = [validate(put(config, "seed", seed))["catalog"] for seed in (0, 7)]
    assert catalogs[0] == catalogs[1]
    assert [catalogs[0]["models"][name]["seed"] for name in ("net", "net_dcls")] == [3, 0]
    assert errors(put(config, f"{TRAIN}.seed", 3))[f"{TRAIN}.seed"].startswith("unknown key")


# Trials


def test_a_trial_has_names_of_its_own(config):
    full, trial = validate(config), validate(put(config, "n_images", 12))
    assert (trial["study"], trial["dataset"], trial["prediction_dataset"]) == ("tiny-n12", "scenes-n12", None)
    datasets = full["catalog"]["datasets"]
    added = {"scenes-n12": datasets["scenes"] | {"n_images": 12}}
    assert trial["catalog"] == full["catalog"] | {"datasets": datasets | added}
    assert validate(trial) == trial
    assert [untried_name(trial[key], trial["n_images"]) for key in ("study", "dataset")] == ["tiny", "scenes"]
    assert untried_name("scenes-n12", full["n_images"]) == "scenes-n12"


@pytest.mark.parametrize(("dataset", "expected"), [("scenes", "scenes-n12"), ("scenes_train", "scenes_train")])
def test_the_accuracy_of_a_trial_is_that_on_its_images_where_they_were_the_same(config, dataset, expected):
    put(config, "prediction_dataset", dataset)
    assert validate(put(config, "n_images", 12))["prediction_dataset"] == expected


def test_a_dataset_of_so_many_images_is_no_trial(config):
    plain = validate(put(config, "catalog.datasets.scenes.n_images", 12))
    assert validate(put(config, "n_images", 12)) == plain | {"n_images": 12}


def test_a_trial_s_dataset_is_no_other_of_the_catalogue(config):
    put(config, "n_images", 12)
    same = {"source": "digits", "split": "val", "n_images": 12}
    put(config, "catalog.datasets.scenes-n12", same)
    assert validate(config)["dataset"] == "scenes-n12"
    put(config, "catalog.datasets.scenes-n12", same | {"seed": 1})
    text = "a trial of `scenes` would be called `scenes-n12`, as another dataset of the catalogue is; rename that entry"
    assert errors(config) == {"n_images": text}


# Protocols


def test_each_family_of_protocols_has_its_own_defaults(config):
    full = validate(config)["catalog"]["protocols"]
    assert full["people"] == {
        "family": "agreement",
        "title": "people",
        "metrics": ["spearman", "dice_at_10", "iou_at_10"],
    }
    masked = {"step": 1792, "start": "blurred", "target": "mean", "blur": 11, "normalize": "resized"}
    assert masked.items() <= full["masked"].items()
    assert full["floors"]["floors"] == [None, 0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert "step" not in full["boxed"]
    assert errors(put(config, "catalog.protocols.boxed.step", 9))["catalog.protocols.boxed.step"].startswith(
        "unknown key"
    )


@pytest.mark.parametrize(("name", "allowed"), [("a-b_2", True), ("a.curves", False), ("a/b", False)])
def test_names_of_protocols_cannot_be_mistaken_for_files_beside_the_scores(config, name, allowed):
    config["catalog"]["protocols"][name] = {"family": "agreement"}
    if allowed:
        validate(config)
    else:
        assert errors(config)[f"catalog.protocols.{name}"].startswith("not allowed as a name")


@pytest.mark.parametrize(
    ("path", "value", "place", "text"),
    [
        ("protocols", ["peopel"], "protocols[0]", "unknown protocol `peopel`, did you mean `people`?"),
        ("cost", "sped", "cost", "unknown protocol `sped`, did you mean `speed`?"),
        ("cost", "floors", "cost", "`floors` is of the family sweep; name a protocol of cost: `speed`"),
        ("sweep.protocol", "people", "sweep.protocol", "`people` is of the family agreement; name a protocol of sweep"),
        (
            "protocols",
            ["people", "floors"],
            "protocols[1]",
            "`floors` is of the family sweep; name it as `sweep.protocol`",
        ),
        ("protocols", ["people", "speed"], "protocols[1]", "`speed` is of the family cost; name it as `cost`"),
        ("protocols", [], "protocols", "found [], expected a list of at least one protocol name"),
        (
            "cost",
            {"repeats": 3},
            "cost",
            "found {repeats: 3}, expected true, false, or a protocol name from the catalogue",
        ),
        ("metrics", ["agreement"], "metrics", "unknown key"),
    ],
)
def test_protocols_stand_where_their_family_does(config, path, value, place, text):
    found = errors(put(config, path, value))
    assert found.keys() == {place}
    assert found[place].startswith(text)


def test_a_study_has_one_protocol_of_a_family(config):
    put(config, "catalog.protocols.others", {"family": "agreement", "metrics": ["iou_at_10"]})
    text = "`people` and `others` are both of the family agreement, of which a study has one"
    found = errors(put(config, "protocols", ["others", "masked", "people"]))
    assert found == {"protocols[2]": f"{text}; drop one of them, or make two studies"}


@pytest.mark.parametrize("known", [KNOWN, KNOWN | {"metrics": metric_names}])
def test_metrics_are_those_of_the_family(config, known):
    put(config, "catalog.protocols.masked.metrics", ["average_drop", "spearman", "average_gian"])
    put(config, "catalog.protocols.people.metrics", ["spearman", "alignment"])
    place = "catalog.protocols.masked.metrics"
    if "metrics" not in known:
        validate(config, known)
        return
    found = errors(config, known=known)
    assert found.keys() == {f"{place}[1]", f"{place}[2]", "catalog.protocols.people.metrics[1]"}
    assert found[f"{place}[1]"].startswith("unknown metric of faithfulness `spearman`")
    assert "did you mean `average_gain`?" in found[f"{place}[2]"]
    expected = "`alignment` needs spearman, human_ceiling, but agreement finds heatmap, human_map; take it out"
    assert found["catalog.protocols.people.metrics[1]"].startswith(expected)


def test_defaults_list_what_was_registered_and_shipped_protocols_write_them_out():
    schema, written = load_schema()["$defs"], yaml.safe_load((ROOT / "config/catalog/protocols.yaml").read_text())
    for name, entry in written["catalog"]["protocols"].items():
        properties = schema[f"family_{entry['family']}"]["properties"]
        assert entry.keys() == properties.keys() - {"title"}, name
        assert set(entry.get("metrics", ())) <= set(metric_names(entry["family"]))
    plain = {"human_maps": "agreement", "rise_fast": "faithfulness", "boxes": "localization", "cascade": "sanity"}
    for name, family in {**plain, "floors": "sweep", "speed": "cost"}.items():
        expected = {key: resolve(part).get("default") for key, part in schema[f"family_{family}"]["properties"].items()}
        if name == "rise_fast":
            # As released code has it, which is not as it was before one could choose.
            expected |= {"ties": "reversed", "metrics": [*expected["metrics"], "tied_pixels"]}
        assert {**expected, "family": family} == shipped()[name]


def test_a_shipped_protocol_means_what_it_ships_with(config):
    config["catalog"]["protocols"] |= copy.deepcopy(shipped())
    known = KNOWN | {"protocols": shipped()}
    put(config, "catalog.protocols.rise_fast.title", "RISE")
    validate(config, known)
    put(config, "catalog.protocols.rise_fast.step", 224)
    put(config, "catalog.protocols.rise_fast.blur", 5)
    text = (
        "found step 224, blur 5, but the protocol `rise_fast` ships with step 1792, blur 11 "
        "(config/catalog/protocols.yaml); give yours a name of its own"
    )
    assert errors(config, known=known) == {"catalog.protocols.rise_fast": text}


def test_what_is_shown_must_be_scored(config):
    known = KNOWN | {"families": {"dcls": ("agreement",), "localization": ("localization",)}}
    put(config, "tables", ["dcls", "localization"])
    text = "`localization` shows localization; add to `protocols` one of localization: `boxed`"
    assert errors(config, known=known) == {"tables[1]": text}
    put(config, "protocols", ["people", "boxed"])
    validate(config, known)
    put(config, "catalog.protocols.people.metrics", ["iou_at_10"])
    text = "`dcls` shows alignment, which follows from `spearman`; add it to the metrics of the protocol `people`"
    assert errors(config, known=known) == {"tables[0]": text}


def test_validating_twice_changes_nothing(config):
    once = validate(config)
    assert validate(once) == once


def test_order_and_comments_leave_the_canonical_form_alone(config):
    def backwards(value):
        return {key: backwards(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    assert canonical(validate(backwards(config))) == canonical(validate(config))


def test_defaults_are_not_shared_between_configurations(config):
    validate(config)["tables"].append("mine")
    assert validate(config)["tables"] == ["dcls"]


def test_shipped_catalogues_are_valid(config):
    for kind in ("datasets", "methods", "protocols"):
        shipped = yaml.safe_load((ROOT / f"config/catalog/{kind}.yaml").read_text())["catalog"]
        assert set(shipped) == {kind}
        config["catalog"][kind] |= shipped[kind]
    put(config, "dataset", "digits_clickme")
    put(config, "controls", ["random", "center_bias", "human_split_half"])
    methods = [method.name for method in METHODS.values() if method.needs != "dataset"]
    known = {"methods": methods, "controls": [*KNOWN["controls"], *GAZE_CONTROLS, "human_split_half"]}
    validate(config, known)


def test_configuration_does_not_import_torch():
    code = "import sys, camstudy.study.checks, camstudy.study.reference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


# Mistakes that the schema sees


def test_unknown_key_has_the_nearest_name(config):
    config["metods"] = config.pop("methods")
    found = errors(config)
    assert found["metods"] == "unknown key, did you mean `methods`?"
    assert found["methods"].startswith("missing, expected a list of at least one method name")


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("catalog.models.net.achr", "arch"),
        (f"{TRAIN}.epoch", "epochs"),
        (f"{TRAIN}.augment.flips", "flip"),
        (f"{DCLS}.kernelsize", "kernel_size"),
        ("catalog.datasets.scenes.n_image", "n_images"),
        ("catalog.methods.gradcam.postproces", "postprocess"),
        ("catalog.metods", "methods"),
        ("statistics.resample", "resamples"),
    ],
)
def test_unknown_keys_are_found_everywhere(config, path, near):
    assert errors(put(config, path, 1)) == {path: f"unknown key, did you mean `{near}`?"}


def test_unknown_key_near_to_none_lists_the_valid_ones(config):
    found = errors(put(config, "qualitative", {"zzz": 1}))
    assert found == {"qualitative.zzz": "unknown key; valid names: n_images, seed"}


def test_keys_of_another_source_are_unknown(config):
    put(config, "catalog.datasets.scenes.shards", ["a.tfrecord"])
    assert errors(config)["catalog.datasets.scenes.shards"].startswith("unknown key")


def test_free_mappings_take_any_key(config):
    put(
        config,
        "catalog.models.net.kwargs",
        {"layers": [1, 1], "block": "import:timm.models.resnet.BasicBlock"},
    )
    put(config, "catalog.methods.random.parameters", {"size": 8})
    assert validate(config)["catalog"]["methods"]["random"]["parameters"] == {"size": 8}


@pytest.mark.parametrize("path", ["study", "dataset", "models", "catalog", "catalog.models.net.arch"])
def test_missing_keys_are_named_and_explained(config, path):
    text = errors(drop(config, path))[path]
    assert re.fullmatch(r"missing, expected .+\. [A-Z].+\.", text)


@pytest.mark.parametrize("kind", ["datasets", "models", "methods", "protocols"])
def test_missing_part_of_the_catalogue_is_one_mistake(config, kind):
    assert set(errors(drop(config, f"catalog.{kind}"))) == {f"catalog.{kind}"}


NUMBER_OF_IMAGES = "an integer of at least 2, or null"
BOOLEANS = "; YAML reads yes, no, on and off as true and false: put quotes around text"
EITHER = "true or false"
RATE = "a number above 0"
MOMENTUM = "a number of at least 0 and below 1"
CUBIC = "one of `bilinear`, `bicubic`, `null`, did you mean `bicubic`?"
TARGET = "label, predicted, second, other, embedding, or the name or number of a class"
SOURCES = (
    "cat2000",
    "cifar10",
    "cifar100",
    "clickme",
    "cub200",
    "digits",
    "folder",
    "gaze_table",
    "imagenet",
    "mit1003",
    "mit67",
)
SOURCES += ("salicon", "voc2012")
SOURCE = f"one of {', '.join(f'`{source}`' for source in SOURCES)}, did you mean `digits`?"
NESTED = " (within `--config key={...}` everything is text: use a file)"
NAME = (
    "a name of at most 100 letters, digits, `_`, `-` and `.` that begins with a letter or digit and does not end in "
    "`.run`, `.zarr`, `.fixations`, `.listing`, `.sources` or `.damaged`, as files beside results do"
)


@pytest.mark.parametrize(
    ("path", "value", "found", "expected"),
    [
        ("n_images", "300", "'300' (text)", f"{NUMBER_OF_IMAGES}; write 300 without quotes"),
        ("n_images", "null", "'null' (text)", f"{NUMBER_OF_IMAGES}; write null without quotes"),
        ("n_images", 2.0, "2.0", NUMBER_OF_IMAGES),
        ("n_images", True, "true", NUMBER_OF_IMAGES),
        ("n_images", 1, "1", NUMBER_OF_IMAGES),
        ("seed", None, "null", "an integer of at least 0"),
        ("study", 2024, "2024", f"{NAME}; put quotes around it"),
        ("study", "mine.run", "mine.run (text)", NAME),
        ("models", "net", "net (text)", "a list of at least one model name; write [net]"),
        ("models", [], "[]", "a list of at least one model name"),
        ("models", None, "null", "a list of at least one model name"),
        ("seed", "017", "'017' (text)", "an integer of at least 0; write 17 without quotes"),
        ("seed", "1e4", "1e4 (text)", "an integer of at least 0; write 10000 without quotes"),
        (f"{NET}.seed", 2**32, "4294967296", "an integer of at least 0 and at most 4294967295"),
        ("controls", None, "null", "a list of names of controls; write []"),
        ("device", "gpu", "gpu (text)", "one of `auto`, `cpu`, `cuda`; write cuda"),
        ("device", False, "false", f"one of `auto`, `cpu`, `cuda`{BOOLEANS}"),
        ("statistics.confidence", 95, "95", "a number above 0 and below 1"),
        (f"{NET}.title", False, "false", f"text, or null{BOOLEANS}"),
        (f"{NET}.arch", None, "null", "text"),
        (f"{NET}.input.mean", [0.5, 0.5], "[0.5, 0.5]", "a list of three numbers, or null"),
        (f"{NET}.input.interpolation", "cubic", "cubic (text)", CUBIC),
        (f"{DCLS}.kernel_size", 16, "16", "an odd integer of at least 3"),
        (f"{DCLS}.kernel_size", 1, "1", "an odd integer of at least 3"),
        (f"{DCLS}.version", "max", "max (text)", "one of `v0`, `v1`, `gauss`"),
        (f"{TRAIN}.learning_rate", "1e-3", "1e-3 (text)", f"{RATE}; write 1.0e-03"),
        (
            f"{TRAIN}.learning_rate",
            "2.5e-4",
            "'2.5e-4' (text)",
            f"{RATE}; write 2.5e-4 without quotes{NESTED}",
        ),
        (f"{TRAIN}.momentum", "0.5", "'0.5' (text)", f"{MOMENTUM}; write 0.5 without quotes{NESTED}"),
        (
            f"{TRAIN}.positions.repulsive_loss",
            "yes",
            "'yes' (text)",
            f"{EITHER}; write {EITHER} without quotes{NESTED}",
        ),
        ("catalog.methods.gradcam", None, "null", "a mapping"),
        ("catalog.methods.gradcam.postprocess.floor", 1, "1", "a number of at least 0 and below 1, or null"),
        ("catalog.methods.gradcam.target", 1.5, "1.5", TARGET),
        ("catalog.datasets.scenes.source", "digit", "digit (text)", SOURCE),
        ("catalog.datasets.scenes.human_ceiling", 0, "0", "`from_halves`, a number above 0 and at most 1, or null"),
        ("catalog.datasets.scenes.num_classes", 1000, "1000", "`10`"),
    ],
)
def test_wrong_values_say_what_was_found_and_what_is_expected(config, path, value, found, expected):
    assert errors(put(config, path, value)) == {path: f"found {found}, expected {expected}"}


def test_slips_in_entries_of_networks(config):
    put(config, f"{NET}.arch", "my_nets.py")
    put(config, f"{NET}.input", {"mean": [123.7, 0.5, 0.5], "\u00a0size": 64})
    put(config, "catalog.models", config["catalog"]["models"] | {False: {"arch": "resnet18"}})
    told = errors(config)
    assert told[f"{NET}.arch"].startswith("found my_nets.py, a file; write `my_nets.NAME`")
    assert told[f"{NET}.input.mean[0]"].endswith("divide it, and the standard deviation, by 255")
    assert told[f"{NET}.input.\u00a0size"].startswith("unknown key; before or after it is a space of another kind")
    assert told["catalog.models.False"].startswith("found the key false, expected text; YAML reads yes, no, on and off")


def test_items_of_lists_are_pointed_at(config):
    put(config, f"{TRAIN}.augment.scale", [0.5, 1.5])
    assert set(errors(put(config, "tables", ["dcls", "dlcs"]))) == {"tables[1]", f"{TRAIN}.augment.scale[1]"}


@pytest.mark.parametrize(
    "weights",
    [
        "none",
        3,
        {},
        {"file": "a"},
        {"path": "a", "url": "https://b.org/c"},
        {"timm": True, "path": "a"},
    ],
)
def test_weights_come_from_one_place(config, weights):
    found = errors(put(config, "catalog.models.net.weights", weights))
    assert list(found) == ["catalog.models.net.weights"]
    assert found["catalog.models.net.weights"].endswith(
        "expected `random`, `random_fan_in`, or a mapping with one of `path`, `url`, `model` and `timm: true`"
    )


def test_an_address_laid_over_timms_weights_says_where_their_file_is(config):
    weights = {"timm": True, "url": "file:///weights/resnet18.safetensors", "sha256": "0" * 64}
    full = validate(put(config, "catalog.models.net.weights", weights))
    assert full["catalog"]["models"]["net"]["weights"] == weights
    assert validate(full) == full


def test_weights_can_include_a_variant_only_if_there_is_one(config):
    weights = {"url": "https://host/net.pth", "include_variant": True}
    put(config, "catalog.models.net_dcls.weights", weights)
    assert validate(config)["catalog"]["models"]["net_dcls"]["weights"]["include_variant"] is True
    found = errors(put(config, "catalog.models.net.weights", weights))
    assert found == {
        "catalog.models.net.weights.include_variant": "found true, but the model has no `variant`; add it, or set false"
    }


def test_weights_of_another_model_name_one_that_exists(config):
    found = errors(put(config, "catalog.models.net.weights", {"model": "nett"}))
    assert found == {
        "catalog.models.net.weights.model": "unknown model `nett`, did you mean `net`? (looked in `catalog.models`)"
    }


def test_no_model_starts_from_itself_in_the_end(config):
    net = config["catalog"]["models"]["net"]
    config["catalog"]["models"]["second"] = {**net, "weights": {"model": "net"}}
    found = errors(put(config, "catalog.models.net.weights", {"model": "second"}))
    assert found == {
        "catalog.models.net.weights.model": "starts `net` from `second` from `net`; name another model or a file",
        "catalog.models.second.weights.model": "starts `second` from `net` from `second`; name another model or a file",
    }


@pytest.mark.parametrize(
    ("weights", "key"),
    [
        ({"url": "www.example.org/net.pt"}, "url"),
        ({"url": "https://example.org/net.pt", "sha256": "12ab"}, "sha256"),
        ({"url": "https://example.org/net.pt", "sha": "12ab"}, "sha"),
        ({"timm": False}, "timm"),
        ({"timm": True, "key": "model"}, "key"),
    ],
)
def test_mistakes_within_weights_are_pointed_at(config, weights, key):
    assert list(errors(put(config, "catalog.models.net.weights", weights))) == [f"catalog.models.net.weights.{key}"]


@pytest.mark.parametrize(
    ("url", "text"),
    [
        (
            "https://me:s3cr3t@host.org/net.pt",
            "found https://host.org/net.pt, but it has a user name or password in it",
        ),
        ("https://host.org:s3cr3t/net.pt", "found https://.../net.pt, but it is malformed"),
        ("https://host.org/a net.pt?token=s3cr3t", "but it has spaces or other characters"),
        (
            "htps://host.org/net.pt?X-Amz-Signature=s3cr3t",
            "found htps://host.org/net.pt?... (text), expected an address",
        ),
        ("host.org/net.pt?X-Amz-Signature=s3cr3t", "found host.org/net.pt?... (text), expected an address"),
        (
            ["https://host.org/net.pt?X-Amz-Signature=s3cr3t"],
            "found ['https://host.org/net.pt?...'], expected an address",
        ),
    ],
)
def test_addresses_with_mistakes_are_told_without_their_secrets(config, url, text):
    places = {"net": {"url": url}, "net_dcls": {"timm": True, "url": url}}
    for name, weights in places.items():
        put(config, f"catalog.models.{name}.weights", weights)
    found = errors(config)
    assert list(found) == [f"catalog.models.{name}.weights.url" for name in places]
    assert all(text in message and "s3cr3t" not in message for message in found.values())
    if isinstance(url, str) and url.startswith("https:"):
        shards = {"url": f"{url}-{{i}}", "count": 2}
        put(config, "catalog.datasets.scenes", {"source": "clickme", "shards": shards})
        message = errors(config)["catalog.datasets.scenes.shards.url"]
        assert text.partition(", but ")[2] in message
        assert "s3cr3t" not in message


def test_a_signed_address_is_accepted(config):
    weights = {"url": "https://host.org/net.pt?X-Amz-Signature=s3cr3t"}
    found = validate(put(config, "catalog.models.net.weights", weights))["catalog"]["models"]["net"]["weights"]
    assert found["url"] == weights["url"]


@pytest.mark.parametrize("name", ["my net", "../n", "-n", ".net", "net/1", "", "n\n", "net.run", "n.zarr", "n" * 101])
def test_names_are_safe_as_file_names(config, name):
    config["catalog"]["models"][name] = {"arch": "resnet18", "weights": "random"}
    with pytest.raises(CamstudyError, match=r"has 1 error:(.|\n)+not allowed as a name, expected a name of at"):
        validate(config)


def test_reserved_names_are_refused(config):
    put(config, "catalog.models.control", {"arch": "resnet18", "weights": "random"})
    found = errors(put(config, "study", "heatmaps"))
    assert found["catalog.models.control"].startswith("not allowed as a name, expected any name but `control`")
    assert found["study"].startswith("found heatmaps (text), expected a name that no shared directory of results has")


def test_repeated_names_are_named(config):
    found = errors(put(config, "models", ["net", "net_dcls", "net"]))
    assert found == {"models[2]": "`net` is listed twice"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(config, value):
    found = errors(put(config, f"{TRAIN}.weight_decay", value))
    assert found[f"{TRAIN}.weight_decay"].endswith("expected a finite number")


def test_dates_and_numbers_as_keys_are_explained(config):
    put(config, "catalog.methods.random.parameters", {"day": datetime.date(2024, 5, 1)})
    config["catalog"]["models"][18] = {"arch": "resnet18", "weights": "random"}
    assert errors(config) == {
        "catalog.methods.random.parameters.day": ("found 2024-05-01 (date), expected text; put quotes around it"),
        "catalog.models.18": "found the key 18, expected text; put quotes around it",
    }


# Mistakes that need a second look


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("dataset", "scene", "dataset"),
        ("models", ["net", "net_dcl", "net_dcls"], "models[1]"),
        ("methods", ["gradcams"], "methods[0]"),
        ("controls", ["randon"], "controls[0]"),
        (f"{TRAIN}.dataset", "scenes_trian", f"{TRAIN}.dataset"),
    ],
)
def test_names_must_be_in_the_catalogue(config, path, value, place):
    found = errors(put(config, path, value))
    assert list(found) == [place]
    assert re.match(
        r"unknown (dataset|model|method) `\w+`, did you mean `\w+`\? \(looked in `catalog\.\w+`\)",
        found[place],
    )


def test_an_entry_with_a_mistake_is_not_an_unknown_name(config):
    assert list(errors(put(config, "catalog.models.net", "resnet18"))) == ["catalog.models.net"]


BOTH = {"baseline": "net", "variant": "net_dcls"}


@pytest.mark.parametrize(
    ("comparisons", "place", "text"),
    [
        (
            [BOTH | {"variant": "net_dcl"}],
            "[0].variant",
            "`net_dcl` is not in `models`, did you mean `net_dcls`?",
        ),
        ([BOTH | {"variant": "net"}], "[0]", "compares `net` with itself; name two models"),
        ([BOTH, BOTH | {"title": "Again"}], "[1]", "compares `net` with `net_dcls` a second time; drop it"),
        ([{"baseline": "net"}], "[0].variant", "missing, expected text. The changed model, one of `models`."),
        (["net"], "[0]", "found net (text), expected a mapping with `baseline` and `variant`"),
    ],
)
def test_comparisons(config, comparisons, place, text):
    assert errors(put(config, "comparisons", comparisons)) == {f"comparisons{place}": text}


def test_comparisons_are_between_models_of_the_study(config):
    found = errors(put(config, "models", ["net"]))
    assert found == {"comparisons[0].variant": "`net_dcls` is not in `models`; valid names: net"}


def test_registered_names_are_checked_when_given(config):
    put(config, "catalog.methods.gradcam.method", "grad_cam")
    validate(config)
    found = errors(config, known=KNOWN)
    assert found == {"catalog.methods.gradcam.method": "unknown method `grad_cam`, did you mean `gradcam`?"}


def test_methods_and_controls_are_kept_apart(config):
    put(put(config, "methods", ["random"]), "controls", ["gradcam"])
    assert errors(config, known=KNOWN) == {
        "methods[0]": "`random` is a control, which looks at no model; list it under `controls`",
        "controls[0]": "`gradcam` explains a model, a control does not; list it under `methods`",
    }


def test_an_untrained_model_says_where_its_weights_are(config):
    found = errors(drop(config, "catalog.models.net.weights"))
    assert found["catalog.models.net.weights"].startswith("missing, and the model is not trained; add `train`")


WARMUP = "less than `epochs` (2), as the learning rate would only rise; 0 for no warm-up"


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        ("train.warmup_epochs", 3, f"found 3, expected {WARMUP}"),
        ("train.warmup_epochs", 2, f"found 2, expected {WARMUP}"),
        ("train.warmup_epochs", 2.0, f"found 2.0, expected {WARMUP}"),
        ("train.min_learning_rate", 0.01, "found 0.01, expected at most `learning_rate` (0.0001)"),
        ("train.augment.scale", [1.0, 0.5], "found [1.0, 0.5], expected the smaller share first"),
        ("train.gpu", 3, "found 3, expected a divisor of `batch_size` (64), which the GPUs share evenly"),
        ("train.accumulate", 3, "found 3, expected a divisor of `batch_size` (64), which the passes share evenly"),
        ("train.accumulate", 128, "found 128, expected a divisor of `batch_size` (64), which the passes share evenly"),
    ],
)
def test_recipes_agree_with_themselves(config, path, value, text):
    assert errors(put(config, f"catalog.models.net_dcls.{path}", value)) == {f"catalog.models.net_dcls.{path}": text}


@pytest.mark.parametrize("warmup", [0, 0.5, 1.99])
def test_a_warm_up_shorter_than_the_training_is_fine(config, warmup):
    validate(put(config, f"{TRAIN}.warmup_epochs", warmup))


def test_a_training_of_one_epoch_needs_another_warm_up_than_the_default(config):
    found = errors(put(config, f"{TRAIN}.epochs", 1))
    limit = "less than `epochs` (1), as the learning rate would only rise; 0 for no warm-up"
    assert found == {f"{TRAIN}.warmup_epochs": f"found 1, expected {limit}"}
    validate(put(config, f"{TRAIN}.warmup_epochs", 0))


def test_gpus_share_the_images_of_a_pass(config):
    put(config, f"{TRAIN}.accumulate", 16)
    validate(put(config, f"{TRAIN}.gpu", 4))
    found = errors(put(config, f"{TRAIN}.gpu", 8))
    limit = "a divisor of `batch_size` / `accumulate` (64 / 16), which the GPUs share evenly"
    assert found == {f"{TRAIN}.gpu": f"found 8, expected {limit}"}


def test_a_kernel_holds_no_more_taps_than_places(config):
    put(config, f"{DCLS}.kernel_size", 5)
    assert errors(config) == {f"{DCLS}.kernel_count": "found 34, expected at most kernel_size x kernel_size (25)"}


def test_files_of_selected_entries_must_exist(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(config, "catalog.models.net.weights", {"path": "weights/net.safetensors"})
    put(config, "catalog.models.unused", {"arch": "resnet18", "weights": {"path": "elsewhere.safetensors"}})
    put(config, "catalog.datasets.scenes", CLICKME | STATED)
    put(config, "catalog.datasets.scenes.shards", ["a.tfrecords", "b.tfrecords"])
    put(config, "catalog.datasets.scenes_train", {"source": "clickme", "shards": ["c.tfrecords"]})
    put(config, "catalog.datasets.unused", {"source": "clickme", "shards": ["d.tfrecords"]})
    (tmp_path / "a.tfrecords").touch()
    advice = f"in {tmp_path}; put it there, or correct the path"
    assert errors(config) == {
        "catalog.models.net.weights.path": f"no file `weights/net.safetensors` {advice}",
        "catalog.datasets.scenes.shards[1]": f"no file `b.tfrecords` {advice}",
        "catalog.datasets.scenes_train.shards[0]": f"no file `c.tfrecords` {advice}",
    }
    validate(config, check_files=False)


def test_training_images_have_no_boxes(config):
    put(config, "catalog.datasets.scenes", {"source": "imagenet", "root": "x", "split": "train", "boxes": True})
    put(config, "protocols", ["masked"])
    text = "found true, but boxes are known of validation images only; set false, or `split: val`"
    assert errors(config, check_files=False) == {"catalog.datasets.scenes.boxes": text}


@pytest.mark.parametrize(
    ("source", "content"),
    [
        ({"source": "imagenet"}, "ILSVRC2012_img_val.tar"),
        ({"source": "imagenet", "split": "train"}, "train/n01440764/*.JPEG"),
        ({"source": "imagenet", "boxes": True}, "ILSVRC2012_bbox_val_v3.tgz"),
        ({"source": "voc2012", "split": "train"}, "VOCtrainval_11-May-2012.tar"),
        ({"source": "cub200"}, "CUB_200_2011.tgz"),
        ({"source": "mit1003"}, "ALLSTIMULI.zip"),
        ({"source": "salicon"}, "fixations.zip"),
        ({"source": "cat2000"}, "trainSet.zip"),
    ],
)
def test_missing_root_says_what_to_put_there(config, tmp_path, monkeypatch, source, content):
    monkeypatch.chdir(tmp_path)
    put(config, "catalog.datasets.scenes", source | {"root": "data/photos"})
    put(config, "catalog.datasets.unused", source | {"root": "elsewhere"})
    put(config, "protocols", ["masked"])
    found = errors(config)
    assert set(found) == {"catalog.datasets.scenes.root"}
    text = found["catalog.datasets.scenes.root"]
    assert text.startswith(f"no directory `data/photos` in {tmp_path}; make it and put ")
    assert content in text
    (tmp_path / "data/photos").mkdir(parents=True)
    entry = validate(config)["catalog"]["datasets"]["scenes"]
    assert (entry["n_images"], entry["human_ceiling"]) == (None, None)


def test_files_of_what_is_made_may_be_elsewhere(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    put(config, "catalog.datasets.scenes", {"source": "cub200", "root": "data/birds"})
    put(config, "catalog.protocols.boxes", {"family": "localization"})
    put(config, "protocols", ["boxes"])
    put(config, "tables", [])
    put(config, "figures", [])
    assert set(errors(config)) == {"catalog.datasets.scenes.root"}
    (tmp_path / "results/data").mkdir(parents=True)
    (tmp_path / "results/data/scenes.json").touch()
    validate(config)


MINE, PEOPLE = {"source": "folder", "root": "x"}, {"human_maps": "people"}
IMAGENET = {"source": "imagenet", "root": "x"}
NO_CEILING = "no `human_ceiling` (1 leaves correlations as they are"
NO_MAPS = "no `human_maps` (recorded, simulated or model)"


@pytest.mark.parametrize(
    ("dataset", "family", "lacks"),
    [
        (CLICKME, "agreement", f"{NO_CEILING}, ClickMe's is 0.65753) and {NO_MAPS}"),
        (CLICKME | {"human_ceiling": 1}, "agreement", NO_MAPS),
        (CLICKME | {"human_maps": "model"}, "agreement", f"{NO_CEILING}, ClickMe's is 0.65753)"),
        (CLICKME | STATED | {"human_maps": None}, "agreement", NO_MAPS),
        ({"source": "mit1003", "root": "x"}, "agreement", "no `human_ceiling` (1 leaves correlations as they are)"),
        (IMAGENET | {"boxes": True}, "agreement", "no human maps"),
        (CLICKME, "localization", "no boxes"),
        (IMAGENET, "localization", "no boxes (`boxes: true` reads them)"),
        (MINE, "agreement", "no human maps (`human_maps` names a folder of them)"),
        (MINE | PEOPLE, "agreement", "no `human_ceiling` (1 leaves correlations as they are)"),
    ],
)
def test_what_maps_are_compared_with_must_be_there(config, dataset, family, lacks):
    put(config, "catalog.datasets.scenes", dataset)
    name = {"agreement": "people", "localization": "boxed"}[family]
    put(config, "protocols", ["masked", name])
    text = f"found `{name}`, of {family}, but dataset `scenes` has {lacks}; take another dataset, or drop `{name}`"
    assert errors(config, check_files=False) == {"protocols[1]": text}
    put(config, "protocols", ["masked"])
    validate(config, check_files=False)


def test_what_others_state_of_their_maps_is_taken(config):
    for maps in ("recorded", "simulated", "model"):
        put(config, "catalog.datasets.scenes", CLICKME | STATED | {"human_maps": maps})
        entry = validate(config, check_files=False)["catalog"]["datasets"]["scenes"]
        assert (entry["human_maps"], entry["human_ceiling"]) == (maps, 0.7)


@pytest.mark.parametrize(
    ("entry", "key", "text"),
    [
        (
            PEOPLE | {"human_ceiling": "from_halves"},
            "human_ceiling",
            "`from_halves` needs maps of both halves; name their folders, `human_halves`",
        ),
        (
            {"human_halves": ["x", "y"]},
            "human_halves",
            "are there without maps of all people; name their folder, `human_maps`",
        ),
        (PEOPLE | {"human_halves": ["x"]}, "human_halves", "found [x], expected two folders, or null"),
        (PEOPLE | {"human_halves": ["x", "y"], "human_ceiling": "from_halves", "masks": "masks"}, None, None),
    ],
)
def test_maps_of_halves_of_people(config, entry, key, text):
    put(config, "catalog.datasets.mine", MINE | entry)
    if key is None:
        validate(config, check_files=False)
    else:
        assert errors(config, check_files=False) == {f"catalog.datasets.mine.{key}": text}


ONE = "one human map per image, not those of two halves of the annotators; drop it"
HALVES = "`human_ceiling: from_halves` reads them where shards have `heatmap_halves`"


@pytest.mark.parametrize(
    ("dataset", "has"),
    [
        (CLICKME | STATED, f"{ONE}; {HALVES}"),
        (CLICKME | STATED | {"human_ceiling": "from_halves"}, None),
        ({"source": "digits", "split": "val"}, None),
        ({"source": "mit1003", "root": "x", "human_ceiling": 1}, ONE),
        (MINE | PEOPLE | {"human_ceiling": 1}, f"{ONE}, or name two folders of them, `human_halves`"),
        (MINE | PEOPLE | {"human_halves": ["x", "y"], "human_ceiling": 1}, None),
        (IMAGENET, "no human maps; drop it"),
    ],
)
def test_controls_that_the_data_cannot_serve_are_refused(config, dataset, has):
    put(config, "catalog.datasets.scenes", dataset)
    put(config, "catalog.methods.halves", {"method": "human_split_half"})
    put(config, "controls", ["random", "halves"])
    put(config, "protocols", ["masked"])
    references = {name: method.reference for name, method in METHODS.items()}
    known = KNOWN | {"controls": ["random", "human_split_half"], "references": references}
    if has is None:
        validate(config, known, check_files=False)
        return
    text = f"found `halves`, but dataset `scenes` has {has}"
    assert errors(config, known=known, check_files=False) == {"controls[1]": text}


@pytest.mark.parametrize("name", GAZE_CONTROLS)
def test_controls_of_gaze_need_fixations(config, name):
    put(config, "catalog.methods.looked", {"method": name})
    put(config, "controls", ["random", "looked"])
    put(config, "protocols", ["masked"])
    put(config, "catalog.datasets.scenes", {"source": "digits", "split": "val"})
    references = {name: method.reference for name, method in METHODS.items()}
    known = KNOWN | {"controls": ["random", *GAZE_CONTROLS], "references": references}
    text = "found `looked`, but dataset `scenes` has no fixations; drop it"
    assert errors(config, known=known, check_files=False) == {"controls[1]": text}
    put(config, "catalog.datasets.scenes.fixations", True)
    validate(config, known, check_files=False)


def test_scanpaths_need_a_method_that_stores_them(config):
    put(config, "catalog.datasets.scenes", {"source": "digits", "split": "val", "fixations": True})
    put(config, "catalog.protocols.paths", {"family": "scanpath"})
    put(config, "protocols", ["masked", "paths"])
    without, with_paths = {"gradcam": []}, {"gradcam": ["scanpath"]}
    text = "found `paths`, of scanpath, but none of `methods` stores scanpaths (an array `scanpath`)"
    found = errors(config, known=KNOWN | {"arrays": without}, check_files=False)
    assert found == {"protocols[1]": f"{text}; add a method that does, or drop `paths`"}
    study = Study(validate(config, KNOWN | {"arrays": with_paths}, check_files=False))
    assert study.maps("scanpath") == []
    assert study.maps("faithfulness")


def test_who_is_compared_with_gaze(config):
    """People are no control where they are compared with themselves; the annotators' halves are none of gaze."""
    for name in (*GAZE_CONTROLS, "human_split_half"):
        put(config, f"catalog.methods.{name}", {"method": name})
    put(config, "controls", ["random", *GAZE_CONTROLS, "human_split_half"])
    study = Study(validate(config, check_files=False))
    judged = {family: {name for _, name in study.maps(family)} & {*study.controls} for family in ("gaze", "agreement")}
    assert judged["gaze"] == {"random", *GAZE_CONTROLS}
    assert judged["agreement"] == {"random", "gaze_center_bias", "human_split_half"}
    assert {name for _, name in study.maps("scanpath")} == {"human_observers"}


@pytest.mark.parametrize(
    "dataset", [{"source": "voc2012", "root": "x"}, {"source": "digits", "split": "val"}, IMAGENET | {"boxes": True}]
)
def test_boxes_that_are_there_can_be_compared_with(config, dataset):
    put(config, "catalog.datasets.scenes", dataset)
    put(config, "protocols", ["boxed"])
    validate(config, check_files=False)


def test_parameters_that_a_method_does_not_take_are_found_before_anything_runs(config):
    put(config, "catalog.methods.threshold_gradcam.parameters", {"floor": 1})
    found = errors(config, known=KNOWN | {"rules": [], "bind": bind})
    assert set(found) == {"catalog.methods.threshold_gradcam.parameters"}
    assert "`floor`" in found["catalog.methods.threshold_gradcam.parameters"]


# All at once


def test_all_mistakes_are_reported_at_once_and_once_each(config):
    config["metods"] = []
    put(config, "study", "../tiny")
    put(config, "n_images", "300")
    put(config, "dataset", "scene")
    put(config, "methods", ["gradcam", 3, "random", "gradcam"])
    put(config, "statistics.alpha", 5)
    put(config, "comparisons", [{"baseline": "net", "variant": "net"}, {"baseline": 1, "variant": "nett"}])
    put(config, "catalog.datasets.scenes.split", "vall")
    put(config, f"{TRAIN}.epochs", 0)
    put(config, f"{TRAIN}.dataset", "train")
    put(config, f"{DCLS}.kernel_size", 4)
    put(config, "catalog.models.broken", {"weights": {"path": "a"}, "kwargs": 1})
    put(config, "catalog.methods.threshold_gradcam.method", "treshold_gradcam")
    assert set(errors(config, known=KNOWN)) == {
        "metods",
        "study",
        "n_images",
        "dataset",
        "methods[1]",
        "methods[2]",
        "methods[3]",
        "statistics.alpha",
        "comparisons[0]",
        "comparisons[1].baseline",
        "comparisons[1].variant",
        "catalog.datasets.scenes.split",
        f"{TRAIN}.epochs",
        f"{TRAIN}.dataset",
        f"{DCLS}.kernel_size",
        "catalog.models.broken.arch",
        "catalog.models.broken.kwargs",
        "catalog.methods.threshold_gradcam.method",
    }


@pytest.mark.parametrize(
    "path", ["catalog", "catalog.models", "catalog.datasets", "models", "comparisons", "statistics"]
)
@pytest.mark.parametrize("value", [None, 3, "text", [3], {"a": 3}])
def test_no_malformed_part_ends_in_another_error(config, path, value):
    assert errors(put(config, path, value), known=KNOWN)


def test_the_report_is_the_same_every_time(config):
    for name in "qwertyuiop":
        config[name] = 1
    code = (
        "import json, sys\nfrom camstudy.study.checks import validate\n"
        "try: validate(json.load(sys.stdin))\nexcept Exception as error: print(error)"
    )
    reports = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
            input=canonical(config),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(reports) == 1
    assert "10 errors" in reports.pop()


# Sweeps


def test_sweeps_that_are_not_asked_for_change_nothing(config):
    full = validate(drop(config, "catalog.methods.gradcam") | {"methods": ["threshold_gradcam"]})
    assert full["tables"] == ["dcls"]
    assert full["sweep"]["protocol"] == "floors"
    assert full["catalog"]["methods"].keys() == {"threshold_gradcam", "random"}
    assert full["catalog"]["methods"]["random"]["stage"] is None


@pytest.mark.parametrize("key", ["tables", "figures"])
def test_the_layer_sweep_makes_its_methods(config, key):
    put(config, key, ["layer_sweep"])
    put(config, "layer_sweep", {"methods": ["threshold_gradcam"], "stages": [2, -1]})
    put(config, "catalog.methods.threshold_gradcam.passes", 2)
    full = validate(config, KNOWN)
    made = full["catalog"]["methods"].keys() - config["catalog"]["methods"].keys()
    assert made == {"threshold_gradcam_stage2", "threshold_gradcam_stage-1"}
    base, entry = (full["catalog"]["methods"][f"threshold_gradcam{stage}"] for stage in ("", "_stage-1"))
    assert entry == base | {"title": "threshold_gradcam, stage -1", "stage": -1, "passes": 6}
    assert validate(full, KNOWN) == full


def test_an_entry_of_a_stage_may_be_written_by_hand(config):
    put(config, "tables", ["layer_sweep"])
    own = {"title": "First", "method": "gradcam", "stage": 1, "target": "predicted"}
    put(config, "catalog.methods.gradcam_stage1", own)
    entry = validate(config)["catalog"]["methods"]["gradcam_stage1"]
    assert {key: entry[key] for key in own} == own
    put(config, "catalog.methods.gradcam_stage1.stage", 3)
    place = "catalog.methods.gradcam_stage1.stage"
    expected = "found 3, but `layer_sweep` takes this name for stage 1; rename the entry"
    assert errors(config) == {place: expected}


@pytest.mark.parametrize(
    ("path", "value", "place", "text"),
    [
        (FLOORS, [0.3], "sweep.protocol", "`floors` has the floors [0.3], expected null among them"),
        (FLOORS, [None, 0.5], "sweep.protocol", "`floors` has the floors [null, 0.5], expected 0.3 among them"),
        (FLOORS, [None, 0.3, 1], f"{FLOORS}[2]", "found 1, expected a number of at least 0 and below 1, or"),
        ("sweep.relu_after_sum", "gradcm", "sweep.relu_after_sum", "unknown method `gradcm`, did you mean `gradcam`?"),
        ("sweep.relu_before_sum", "gradcam", "sweep.relu_before_sum", "`gradcam` has no floor in its `postprocess`"),
        ("sweep.relu_after_sum", "random", "sweep.relu_after_sum", "`random` is a control, which looks at no model"),
        ("layer_sweep.methods", ["random"], "layer_sweep.methods[0]", "`random` is a control, which looks at no model"),
        ("layer_sweep.methods", ["gradcm"], "layer_sweep.methods[0]", "unknown method `gradcm`, did you mean"),
        ("layer_sweep.stages", [1, 0], "layer_sweep.stages[1]", "found 0, expected an integer other than 0"),
        ("catalog.methods.random.stage", 2, "catalog.methods.random.stage", "a control looks at no model and has no"),
        ("catalog.methods.gradcam.stage", 0, "catalog.methods.gradcam.stage", "found 0, expected an integer other"),
        (f"{SPEED}.repeats", 0, f"{SPEED}.repeats", "found 0, expected an integer of at least 1"),
    ],
)
def test_mistakes_in_sweeps(config, path, value, place, text):
    put(config, "figures", ["threshold_sweep", "layer_sweep", "alignment_cost"])
    found = errors(put(config, path, value), known=KNOWN)
    assert found.keys() == {place}
    assert found[place].startswith(text)


def test_an_unknown_dataset_for_accuracy_is_named(config):
    found = errors(put(config, "prediction_dataset", "scene"))
    assert found["prediction_dataset"].startswith("unknown dataset `scene`, did you mean `scenes`?")


def test_the_table_of_published_values_needs_them(config, tmp_path):
    put(config, "tables", ["published"])
    assert errors(config)["published"].startswith("missing, and `tables` has `published`")
    missing = str(tmp_path / "values.csv")
    assert errors(put(config, "published", missing), check_files=True)["published"].startswith(f"no file `{missing}`")
    (tmp_path / "values.csv").touch()
    validate(config)


def test_a_method_of_a_variant_needs_a_model_that_has_it(config):
    known = KNOWN | {"methods": [*KNOWN["methods"], "raw_attention"], "variants": {"raw_attention": "castream"}}
    put(config, "catalog.methods.attention", {"method": "raw_attention"})
    put(config, "methods", ["gradcam", "attention"])
    text = "`attention` explains models with the variant `castream` alone, and none of `models` has it"
    with pytest.raises(CamstudyError, match=re.escape(f"`methods[1]`: {text}")):
        validate(config, known)
    put(config, "catalog.models.net_dcls.variant", {"castream": {}})
    study = Study(validate(config, known))
    assert study.maps(with_controls=False) == [("net", "gradcam"), ("net_dcls", "gradcam"), ("net_dcls", "attention")]


def test_a_variant_with_modules_of_its_own_is_trained_or_comes_with_its_weights(config):
    place = "catalog.models.net_dcls"
    put(config, f"{place}.variant", {"castream": {}})
    full = validate(config)["catalog"]["models"]["net_dcls"]
    assert full["variant"] == {"castream": {"block": "ca", "start": 0, "token": "agnostic", "bias": True}}
    drop(config, f"{place}.train")
    text = "its stream would stay as it was drawn; add `train`, or weights with `include_variant: true`"
    for weights in ("random", {"timm": True}, {"model": "net"}, {"path": "net.pth", "include_variant": False}):
        put(config, f"{place}.weights", weights)
        assert errors(config, check_files=False) == {f"{place}.variant.castream": text}
    put(config, f"{place}.weights", {"path": "net.pth", "include_variant": True})
    validate(config, check_files=False)
