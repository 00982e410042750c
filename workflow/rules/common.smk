# Helpers of the rules: the validated configuration, canonical parameters, code dependencies, targets. No rules here.
import os
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.io import regex_from_filepattern

sys.path.insert(0, workflow.basedir)

from camstudy.addresses import identity, recordable
from camstudy.config import layer_sweep, validate
from camstudy.errors import CamstudyError
from camstudy.explain import controls
from camstudy.explain.families import METHODS, bind
from camstudy.figures import FIGURES
from camstudy.job import count_gpus, share_library
from camstudy.orphans import cancel_orphans
from camstudy.parts import part_names
from camstudy.provenance import canonical, imported_sources
from camstudy.resources import count_parts, estimate, request
from camstudy.tables import TABLES

share_library()


resource_scopes:
    in_turn="local",


known = {
    "bind": bind,
    "methods": [],
    "controls": [],
    "rules": [script.stem for script in Path(workflow.basedir, "scripts").glob("*.py")],
    "families": {name: record.metrics for name, record in [*TABLES.items(), *FIGURES.items()]},
}
for method in METHODS.values():
    known["controls" if method.needs == "dataset" else "methods"].append(method.name)
try:
    # In place: scripts get this very object.
    config.update(validate(config, known))
except CamstudyError as error:
    raise WorkflowError(str(error)) from None


if config["group_minutes"]:
    # Steps that are grouped into one job take turns, so that it asks for what one needs. `--resources in_turn=1` would
    # do for the head, but is not handed to its jobs, which add up again what they asked for.
    workflow.register_resource("in_turn", 1)


onstart:
    # Not in jobs and not in dry runs.
    if orphans := cancel_orphans(os.getcwd()):
        logger.info(f"Cancelled SLURM jobs of an earlier run here: {', '.join(orphans)}")


STUDY = config["study"]
DATASET = config["dataset"]
ACCURACY_DATASET = config["accuracy_dataset"] or DATASET
CATALOG = config["catalog"]
# What people reach among themselves, where maps are compared with theirs.
CEILING = f"results/scores/{DATASET}/human_ceiling.json" if "agreement" in config["metrics"] else []
DEVICE = config["device"]
GPUS = count_gpus()


wildcard_constraints:
    # One path component each, and the part of a method whose images are divided among jobs: `/3-of-20`, or nothing.
    dataset="[^/]+",
    model="[^/]+",
    method="[^/]+",
    study="[^/]+",
    part="(/[0-9]+-of-[0-9]+)?",


@cache
def code(script):
    """A script and the files of the library that it imports: as inputs, they make an edit rerun what depends on it."""
    path = f"{workflow.basedir}/scripts/{script}.py"
    return [os.path.relpath(source, workflow.basedir) for source in (path, *imported_sources(path))]


def entry(kind, name, *drop):
    """Canonical text of a catalogue entry, for params; `drop` names keys that do not change this job's result, with a
    dot those within a mapping. Params are shown and recorded, so of an address it has what may be."""

    def keep(value, place=""):
        if not isinstance(value, dict):
            return value
        return {key: keep(item, f"{place}{key}.") for key, item in value.items() if f"{place}{key}" not in drop}

    return canonical(keep(recordable(CATALOG[kind][name])))


def explained(wildcards):
    """Canonical text of what decides a method's raw maps, for params."""
    return entry("methods", wildcards.method, "title", "postprocess", "passes", "parts", "ranked")


def names(kind, test):
    """Wildcard constraint: the catalogue's names of a kind whose entry passes a test."""
    chosen = [name for name, item in CATALOG[kind].items() if test(item)]
    return "|".join(chosen) or "(?!)"


def is_drawn(item):
    """Whether a catalogue entry of a dataset is drawn."""
    return item["source"] == "digits"


def is_photographs(item):
    """Whether a catalogue entry of a dataset is prepared from files of photographs, not from shards."""
    return "root" in item


def explains(item):
    """Whether a catalogue entry of a method looks at a model; controls do not."""
    return METHODS[item["method"]].needs != "dataset"


def gpus(wildcards=None):
    """1 for a job that needs a GPU. `auto` goes by the machine that plans; profiles/slurm sets `device=cuda`."""
    return min(GPUS, 1) if DEVICE == "auto" else int(DEVICE == "cuda")


def training_gpus(wildcards):
    """GPUs of a training job: what its recipe says; with `auto`, what there are of them and divides its batch."""
    recipe = CATALOG["models"][wildcards.model]["train"]
    most = min(recipe["gpu"], GPUS) if DEVICE == "auto" else recipe["gpu"] * gpus()
    images = recipe["batch_size"] // recipe["accumulate"]
    return max((n for n in range(1, most + 1) if images % n == 0), default=0)


def memory(rule):
    """Resource `mem_mb`: what a job of a rule is estimated to need, more of it at each attempt."""
    return lambda wildcards, attempt: request(config, rule, wildcards, attempt, gpu=bool(gpus()))["mem_mb"]


def minutes(rule):
    """Resource `runtime`: as for `memory`."""
    return lambda wildcards, attempt: request(config, rule, wildcards, attempt, gpu=bool(gpus()))["runtime"]


def is_brief(rule, jobs=None):
    """Whether a rule's jobs, given by their wildcards, are so short that they run beside Snakemake on a cluster."""
    seconds = [estimate(config, rule, job).seconds for job in ([{"dataset": DATASET}] if jobs is None else jobs)]
    return max(seconds, default=0) <= config["local_seconds"]


def prepared(test):
    """Wildcards of the datasets that the study looks at or trains on, of those whose entry passes a test."""
    recipes = [CATALOG["models"][model]["train"] for model in config["models"]]
    used = [DATASET, ACCURACY_DATASET, *(recipe["dataset"] for recipe in recipes if recipe)]
    return [{"dataset": name} for name in dict.fromkeys(used) if test(CATALOG["datasets"][name])]


@cache
def is_grouped(model):
    """Whether all that the study does on a GPU with a model takes minutes, from its training on."""
    recipe = CATALOG["models"][model]["train"]
    if not config["group_minutes"] or model not in config["models"] or not recipe or recipe["gpu"] > 1:
        return False
    also = {source for record in shown_records() for source in record.also}
    swept = [config["sweep"][role] for role in ("relu_after_sum", "relu_before_sum") if "sweep" in also]
    methods = dict.fromkeys([*config["methods"], *swept, *(layer_sweep(config) if "layers" in also else [])])
    rules = ["explain", *(f"score_{family}" for family in ("faithfulness", "sanity") if family in config["metrics"])]
    rules += ["time_method"] if "timing" in also else []
    steps = [("train", {})] + [("accuracy", {"dataset": name}) for name in {DATASET, ACCURACY_DATASET}]
    steps += [(rule, {"dataset": DATASET, "method": method}) for rule in rules for method in methods]
    gpu = bool(gpus())
    seconds = sum(estimate(config, rule, {"model": model, **job}, gpu=gpu).seconds for rule, job in steps)
    return seconds <= 60 * config["group_minutes"]


def model_group(wildcards):
    """Group: the steps on a GPU of a model that is trained, where they are one short job of a cluster."""
    return wildcards.model if is_grouped(wildcards.model) else None


def drawn_shards(dataset):
    """Number of the shards of a dataset that is drawn."""
    return -(-CATALOG["datasets"][dataset]["n_images"] // SHARD_SIZE)


def shards(wildcards):
    """Input: the TFRecord shards of a dataset, drawn ones, downloaded ones or the user's."""
    item = CATALOG["datasets"][wildcards.dataset]
    if is_drawn(item):
        count = drawn_shards(wildcards.dataset)
        return [f"results/raw/{wildcards.dataset}/{shard}-of-{count}.tfrecord" for shard in range(count)]
    if isinstance(item["shards"], dict):
        count, records = item["shards"]["count"], item["shards"]["records"]
        if records and item["n_images"] and item["sample_seed"] is None:
            count = min(count, -(-item["n_images"] // records))
        return [f"results/raw/{wildcards.dataset}/{shard}.tfrecords" for shard in range(count)]
    return item["shards"]


def shard_source(wildcards):
    """Canonical text of where a shard comes from, its query aside, and its checksum, for params."""
    source, shard = CATALOG["datasets"][wildcards.dataset]["shards"], int(wildcards.shard)
    digests = source["sha256"] or []
    digest = (digests[shard:] or [None])[0]
    return canonical({"url": identity(source["url"].replace("{i}", str(shard)), digest), "sha256": digest})


def human_ceiling(wildcards):
    """What the catalogue says of the agreement between people: a number, `from_halves` or None."""
    return CATALOG["datasets"][wildcards.dataset]["human_ceiling"]


def weight_file(wildcards):
    """Input: the checkpoint file of a model's weights, where it is one on this machine."""
    return CATALOG["models"][wildcards.model]["weights"].get("path", [])


def weights_entry(wildcards):
    """Canonical text of what decides a model's starting weights; a variant that is applied to them does not."""
    weights = CATALOG["models"][wildcards.model]["weights"]
    later = [] if weights.get("include_variant") else ["variant"]
    return entry("models", wildcards.model, "title", "train", "target_layer", *later)


def starting_weights(wildcards):
    """Inputs: verified weights to start from and their record, or nothing for a model that starts at random."""
    weights = CATALOG["models"][wildcards.model]["weights"]
    if isinstance(weights, str):
        return {}
    if "model" in weights:
        origin = f"results/models/{weights['model']}/model"
    else:
        origin = f"results/weights/{wildcards.model}"
    return {"weights": f"{origin}.safetensors", "start": f"{origin}.json"}


def training_data(wildcards):
    """Input: manifest of the dataset that a model trains on."""
    return f"results/data/{CATALOG['models'][wildcards.model]['train']['dataset']}.json"


def demo_weights():
    """Names of the weights that ship with the repository: models called `{name}_pretraining`."""
    suffix = "_pretraining"
    return [name.removesuffix(suffix) for name in CATALOG["models"] if name.endswith(suffix)]


def maps(controls=True):
    """(model, method) of every heatmap store of the study, controls under the model name `control`."""
    explained = [(model, method) for model in config["models"] for method in config["methods"]]
    return explained + [("control", control) for control in config["controls"] if controls]


def parts(rule, dataset, model, method):
    """What the paths of one model and method end in, one for each job of a rule."""
    return part_names(1 if model == "control" else count_parts(config, rule, dataset, model, method))


def heatmap_files(dataset, model, method):
    """Inputs: the heatmap stores of a model and method, which readers open as one."""
    return [
        f"results/heatmaps/{dataset}/{model}/{method}{part}.json" for part in parts("explain", dataset, model, method)
    ]


def network_maps(wildcards):
    """Inputs: the heatmap stores that a network is tried with; a control's are the same for all models."""
    control = METHODS[CATALOG["methods"][wildcards.method]["method"]].needs == "dataset"
    return heatmap_files(wildcards.dataset, "control" if control else wildcards.model, wildcards.method)


def predictions(wildcards):
    """Input: what a model predicts; nothing for a control, which is no model."""
    return [] if wildcards.model == "control" else "results/scores/{dataset}/{model}/accuracy.parquet"


def score_files(*families, controls=True, name=None):
    """Inputs: scores of the study's maps, as (family, model, method, file), several files where jobs share the images;
    with a name, the files that are called so beside them."""
    tried = [(model, method) for model in config["models"] for method in config["methods"]]
    pairs = {"agreement": maps(controls), "localization": maps(controls), "sanity": tried}
    # Every model is tried with the controls' maps.
    pairs["faithfulness"] = tried + [
        (model, control) for model in config["models"] for control in config["controls"] if controls
    ]
    return [
        (family, model, method, f"results/scores/{DATASET}/{model}/{method}/{name or family}{part}.parquet")
        for family in families or config["metrics"]
        for model, method in pairs[family]
        for part in ([""] if family == "sanity" else parts(f"score_{family}", DATASET, model, method))
    ]


def compared_maps():
    """The files of scores against human maps that a figure of maps shows, as `score_files`."""
    return score_files("agreement", controls=False) if "agreement" in config["metrics"] else []


def sweep_files():
    """Inputs: scores of the threshold sweep, as (model, method, file)."""
    methods = [config["sweep"][role] for role in ("relu_after_sum", "relu_before_sum")]
    return [
        (model, method, f"results/scores/{DATASET}/{model}/{method}/sweep{part}.parquet")
        for model in config["models"]
        for method in dict.fromkeys(methods)
        for part in parts("sweep_thresholds", DATASET, model, method)
    ]


def layer_files():
    """Inputs: scores of the layer sweep, as (model, method at a stage, file)."""
    if not any("layers" in record.also for record in shown_records()):
        return []  # then the methods at stages are not in the catalogue
    return [
        (model, method, f"results/scores/{DATASET}/{model}/{method}/agreement{part}.parquet")
        for model in config["models"]
        for method in layer_sweep(config)
        for part in parts("score_agreement", DATASET, model, method)
    ]


def stage_files():
    """Inputs: what is left of the maps at each stage of randomisation, as (model, method, file)."""
    return [
        (model, method, f"results/scores/{DATASET}/{model}/{method}/stages.parquet")
        for model, method in maps(controls=False)
    ]


def shown_records():
    """The records of the study's tables and figures."""
    return [TABLES[name] for name in config["tables"]] + [FIGURES[name] for name in config["figures"]]


def record(wildcards):
    """The record of the table or figure that a job makes."""
    return TABLES[wildcards.table] if "table" in wildcards.keys() else FIGURES[wildcards.figure]


def further(wildcards):
    """Inputs: what a table or figure is made from beside the scores."""
    sources = {
        "sweep": "results/{study}/sweep.parquet",
        "layers": "results/{study}/layers.parquet",
        "cost": expand("results/cost/{model}.json", model=config["models"]),
        "curves": "results/{study}/curves.parquet",
        "stages": "results/{study}/stages.parquet",
        "timing": [f"results/cost/{DATASET}/{model}/{method}.json" for model, method in maps(controls=False)],
        "published": config["published"] or [],
    }
    return {name: sources[name] for name in record(wildcards).also}


def study(*keys):
    """Canonical text of some of the study's settings, for params."""
    return canonical({key: config[key] for key in keys})


def shown(wildcards):
    """Canonical text of what a table or figure states about the study."""
    keys = [
        "study",
        "dataset",
        "accuracy_dataset",
        "models",
        "methods",
        "controls",
        "comparisons",
        "statistics",
        "degenerate",
        *(family for family in record(wildcards).metrics if family in config),
    ]
    if wildcards.get("table") in ("faithfulness", "localization"):
        keys.append("show_intervals")
    used = config["methods"] + config["controls"]
    if "sweep" in record(wildcards).also:
        keys.append("sweep")
        used += [config["sweep"]["relu_after_sum"], config["sweep"]["relu_before_sum"]]
    if "layers" in record(wildcards).also:
        keys.append("layer_sweep")
        used += config["layer_sweep"]["methods"]
    methods = {name: CATALOG["methods"][name] for name in used}
    return canonical({key: config[key] for key in keys} | {"catalog": {"methods": methods}})


def titles(kind, selected):
    """Canonical text of the titles of catalogue entries, for params."""
    return canonical({name: CATALOG[kind][name]["title"] for name in selected})


def figure_names(needs):
    """Wildcard constraint: the registered figures that are drawn from `scores`, or from `maps`."""
    return "|".join(name for name, figure in FIGURES.items() if figure.needs == needs)


def first_outputs():
    """A regular expression for the first output of each rule so far; it tells a job's wildcards."""
    return {rule.name: regex_from_filepattern(str(rule.output[0])) for rule in workflow.rules if rule.output}


def tables():
    """Targets: the study's tables."""
    return expand(
        "results/{study}/tables/{table}.{ext}",
        study=STUDY,
        table=config["tables"],
        ext=["csv", "md", "tex", "html"],
    )


def figures():
    """Targets: the study's figures."""
    return expand(
        "results/{study}/figures/{figure}.{ext}",
        study=STUDY,
        figure=config["figures"],
        ext=["png", "pdf"],
    )
