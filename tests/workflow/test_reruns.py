"""The ledger: for each kind of edit, the exact set of jobs that a finished study makes anew.

Nothing is computed. Outputs are stubs with the identities that their jobs plan, recorded by `snakemake --touch`; each
edit is planned by Snakemake itself in a copy.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import DCLS, RESNET, TINY, Project
from planning import FORKS
from trees import as_classes, with_more_classes

from camstudy.core import ledger
from camstudy.core.provenance import sha256_file

TRAIN = RESNET["train"]
PLAIN = {key: value for key, value in RESNET.items() if key != "train"}
STUDY = TINY | {
    "study": "ledger",
    "prediction_dataset": "photos",
    "models": ["net", "net_dcls"],
    "methods": ["gradcam", "threshold_gradcam", "input_gradient", "score_cam"],
    "controls": ["center_bias"],
    "comparisons": [{"baseline": "net", "variant": "net_dcls"}],
    "protocols": ["human_maps", "rise_fast", "boxes"],
    "tables": ["dcls", "localization"],
    "figures": ["alignment", "qualitative"],
    "published": "published.csv",
    "catalog": {
        "datasets": {
            "tiny": {"source": "digits", "split": "val", "n_images": 24},
            "tiny_train": {"source": "digits", "split": "train", "n_images": 96, "human_ceiling": None},
            "photos": {"source": "imagenet", "root": "photos", "num_classes": 10, "n_images": 7},
        },
        "models": {
            "net": PLAIN | {"title": "Net", "weights": {"path": "net.safetensors"}},
            "net_dcls": RESNET | {"title": "Net-DCLS", "variant": DCLS, "weights": {"path": "net.safetensors"}},
        },
    },
}
OTHER = STUDY | {
    "study": "other",
    "models": ["net"],
    "comparisons": [],
    "tables": ["localization"],
    "figures": [],
    "protocols": ["rise", "boxes_any_tie"],
    "seed": 3,
    "explain": {"chunk_size": 4, "batch_size": 3},
    "resources": {"minutes_per_job": 7},
}
MODELS, METHODS, CONTROL = STUDY["models"], STUDY["methods"], "center_bias"


# What the messages of jobs say. --------------------------------------------------------------------------------------


def prepared(*names: str) -> set[str]:
    return {f"Prepare {name}" for name in names}


def drawn(name: str, count: int) -> set[str]:
    return {f"Draw scenes of {name}, shard {shard}" for shard in range(count)}


def fetched(*models: str) -> set[str]:
    return {f"Fetch and verify the starting weights of {model}" for model in models}


def checked(*models: str) -> set[str]:
    return {f"Check the network {model}" for model in models}


def made(*models: str) -> set[str]:
    return {
        f"Train {model}" if model == "net_dcls" else f"Assemble {model} as it is, without training" for model in models
    }


def classified(*models: str, on: tuple[str, ...] = ("tiny", "photos")) -> set[str]:
    return {f"Classify {dataset} with {model}" for model in models for dataset in on}


def explained(*models: str, methods: list[str] = METHODS) -> set[str]:
    return {f"Explain {model} on tiny with {method}" for model in models for method in methods}


def agreeing(*models: str, methods: list[str] = METHODS) -> set[str]:
    return {f"Score {method} of {model} on tiny by human_maps" for model in models for method in methods}


def faithful(*models: str, methods: list[str] = METHODS) -> set[str]:
    return {f"Score {method} of {model} on tiny by rise_fast" for model in models for method in methods}


def located(*models: str, methods: list[str] = METHODS, protocol: str = "boxes") -> set[str]:
    return {f"Score {method} of {model} on tiny by {protocol}" for model in models for method in methods}


def scored(*models: str, methods: list[str] = METHODS) -> set[str]:
    """All scores of methods; under faithfulness, models are tried with the control, too, when the model changes."""
    found = agreeing(*models, methods=methods) | faithful(*models, methods=methods) | located(*models, methods=methods)
    return found


CONTROL_MAPS = {f"Make the control maps {CONTROL} for tiny"}
CONTROL_SCORES = agreeing("control", methods=[CONTROL]) | located("control", methods=[CONTROL])
CEILING = {"Find the agreement between people on tiny"}
CONFIGURATION = {"Write down the configuration of ledger"}
AGGREGATE = {"Aggregate the scores of ledger"}
DCLS_TABLE, LOCALIZATION = {"Make table dcls of ledger"}, {"Make table localization of ledger"}
ALIGNMENT, QUALITATIVE = {"Draw alignment of ledger"}, {"Draw qualitative of ledger"}
FROM_SCORES = AGGREGATE | DCLS_TABLE | LOCALIZATION | ALIGNMENT
TABLES = DCLS_TABLE | LOCALIZATION
EVERYTHING_DRAWN = TABLES | ALIGNMENT | QUALITATIVE


def of_model(*models: str) -> set[str]:
    """What follows from another model, itself included."""
    tried = faithful(*models, methods=[CONTROL])
    return (
        made(*models) | classified(*models) | explained(*models) | scored(*models) | tried | FROM_SCORES | QUALITATIVE
    )


def of_method(name: str, *models: str) -> set[str]:
    """What follows from other maps of a method."""
    models = models or tuple(MODELS)
    return explained(*models, methods=[name]) | scored(*models, methods=[name]) | FROM_SCORES | QUALITATIVE


def of_control(name: str) -> set[str]:
    """What a control on another class takes."""
    scores = (
        agreeing("control", methods=[name]) | located("control", methods=[name]) | faithful(*MODELS, methods=[name])
    )
    return {f"Make the control maps {name} for tiny"} | scores


EVERYTHING = (
    of_model(*MODELS)
    | checked(*MODELS)
    | fetched(*MODELS)
    | drawn("tiny", 1)
    | drawn("tiny_train", 1)
    | prepared("tiny", "tiny_train", "photos")
    | CONTROL_MAPS
    | CONTROL_SCORES
    | CEILING
    | CONFIGURATION
)


# The project. --------------------------------------------------------------------------------------------------------


def planned(project: Project, *options: str) -> set[str]:
    """Return the messages of the jobs that a dry run would run."""
    done = project.run("--dry-run", *options)
    jobs = re.findall(r"^Job \d+: (.*)$", done.stdout + done.stderr, re.MULTILINE)
    assert len(jobs) == len(set(jobs)), done.stdout
    assert jobs or "Nothing to be done" in done.stdout + done.stderr, done.stdout + done.stderr
    return set(jobs)


def _stub(path: Path, study: str, places: dict[str, list[str]]) -> None:
    """Make every output of a study, with the identity that its job plans: what planning sees of a run."""
    os.chdir(path)
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        config = ConfigSettings(configfiles=[path / study])
        workflow = api.workflow(ResourceSettings(cores=1), config_settings=config, snakefile=path / "Snakefile")
        workflow.dag(DAGSettings())
        planning = workflow._workflow
        planning._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        planning._build_dag()
        for job in planning.dag.jobs:
            for output in map(Path, job.output):
                if not output.exists():
                    output.parent.mkdir(parents=True, exist_ok=True)
                    output.write_text(json.dumps(content(output, job.params.identity, places)))


def content(output: Path, identity: str, places: dict[str, list[str]]) -> dict:
    """Return what planning reads of a record, and write the table of the files from outside beside it."""
    if output.suffix == ".json":
        files = places.get(output.as_posix())
        if files:
            root, files = ("photos", [""]) if files == ["photos"] else (".", files)
            stats = ledger.survey(root, files)
            hashes = {name: sha256_file(Path(root, name)) for name in stats}
            ledger.record(ledger.table_of(output), stats, hashes, places=files, kinds={".jpeg", ".safetensors"})
    else:
        output.with_suffix(".run.json").write_text(json.dumps({"identity": identity}))
    source = hashes.get("net.safetensors") if output.suffix == ".json" and files else None
    return {"identity": identity, "accepted": "", "sha256": source or "0" * 64}


@pytest.fixture(scope="module")
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished study and another one beside it, whose outputs are stubs."""
    path = tmp_path_factory.mktemp("ledger") / "project"
    path.mkdir()
    project = Project(path)
    (path / "photos").mkdir()
    as_classes(path / "photos")
    with_more_classes(path / "photos", 6)
    (path / "net.safetensors").write_bytes(b"weights")
    shutil.copy(path / "config/published/dcls.csv", path / "published.csv")
    project.write_study(STUDY)
    (path / "other.yaml").write_text(yaml.safe_dump(OTHER, sort_keys=False))
    places = {f"results/weights/{model}.json": ["net.safetensors"] for model in MODELS}
    places["results/data/photos.json"] = ["photos"]
    for study in ("study.yaml", "other.yaml"):
        process = FORKS.Process(target=_stub, args=(path, study, places))
        process.start()
        process.join()
        assert process.exitcode == 0
        # All of them: for what has no input, a missing record is no reason to be touched.
        project.run("--touch", "--forceall", "--configfile", study)
    # Nothing waits for what is checked already.
    project.run("--touch", "--forceall", *(f"results/models/{model}/check.json" for model in MODELS))
    return project


@pytest.fixture
def project(stubbed: Project, tmp_path: Path) -> Project:
    subprocess.run(["cp", "-a", str(stubbed.path), str(tmp_path / "project")], check=True)
    return Project.at(tmp_path / "project")


def test_everything_is_planned_once(tmp_path):
    (tmp_path / "project").mkdir()
    project = Project(tmp_path / "project")
    (project.path / "photos").mkdir()
    as_classes(project.path / "photos")
    with_more_classes(project.path / "photos", 6)
    (project.path / "net.safetensors").write_bytes(b"weights")
    shutil.copy(project.path / "config/published/dcls.csv", project.path / "published.csv")
    project.write_study(STUDY)
    assert planned(project) == EVERYTHING


# The edits. ----------------------------------------------------------------------------------------------------------


def study(*path: str, value: object = None, drop: bool = False) -> Callable[[Project], None]:
    """Change one key of the study's file, such as ``catalog, models, net, title``; or take it out."""

    def edit(project: Project) -> None:
        changed = json.loads(json.dumps(STUDY))
        place = changed
        for key in path[:-1]:
            place = place.setdefault(key, {})
        if drop:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        project.write_study(changed)

    return edit


def text(file: str, old: str, new: str) -> Callable[[Project], None]:
    """Replace text in a file of the project."""
    return lambda project: project.edit(file, old, new)


def both(*edits: Callable[[Project], None]) -> Callable[[Project], None]:
    """Make several edits, one after the other."""

    def edit(project: Project) -> None:
        for one in edits:
            one(project)

    return edit


def appended(file: str, more: str) -> Callable[[Project], None]:
    """Add text at the end of a file of the project, which may be new."""

    def edit(project: Project) -> None:
        path = project.path / file
        path.write_text((path.read_text() if path.exists() else "") + more)

    return edit


def turned(project: Project) -> None:
    """Reverse the order of all keys of the study and of the catalogues."""

    def turn(value: object) -> object:
        return {key: turn(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    for path in [*(project.path / "config/catalog").glob("*.yaml"), project.path / "study.yaml"]:
        path.write_text("# A comment.\n" + yaml.safe_dump(turn(yaml.safe_load(path.read_text())), sort_keys=False))


def touched(project: Project) -> None:
    """Give all files of the project and all from outside the time of now."""
    for path in project.path.rglob("*"):
        if ".snakemake" not in path.parts and path.is_file():
            os.utime(path)


def aged(*files: str) -> Callable[[Project], None]:
    """Give files a time long before the results."""

    def edit(project: Project) -> None:
        for file in files:
            os.utime(project.path / file, (1e9, 1e9))

    return edit


def then(*edits: Callable[[Project], None]) -> Callable[[Project], None]:
    def edit(project: Project) -> None:
        for one in edits:
            one(project)

    return edit


def replaced(file: str) -> Callable[[Project], None]:
    """Put other content of the same size into a file, at the time of the old one."""

    def edit(project: Project) -> None:
        path = project.path / file
        before, status = path.read_bytes(), path.stat()
        path.write_bytes(bytes([before[0], before[1] ^ 1]) + before[2:])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))

    return edit


def photo(project: Project) -> str:
    return next(str(path.relative_to(project.path)) for path in sorted((project.path / "photos").rglob("*.JPEG")))


CAM, GRADIENTS = "camstudy/explain/methods/cam.py", "camstudy/explain/methods/gradients.py"
NEW_METHOD = '''

@METHODS.register("mean_activation", needs="activations_gradients", source="this test")
def mean_activation(activations, gradients):
    """Return the mean over channels."""
    return activations.mean(1)
'''
NEW_METRIC = '''

@METRICS.register(
    "mean_difference",
    family="agreement",
    direction="down",
    range=(0.0, 1.0),
    level="image",
    label="Difference",
    source="this test",
    needs=("map", "human_map"),
)
def mean_difference(maps, human):
    """Return the mean absolute difference."""
    return abs(maps - human).mean((1, 2))
'''
KEYS = """\
title: Another
description: Another thing.
additionalProperties: false
required: [{key}]
properties:
  {key}:
    description: Another.
    const: another
"""
NEW_SOURCE = '''"""Another source."""

from camstudy.data.sources import SOURCES


@SOURCES.register("another", kind="photographs", has=("labels",), images=lambda entry: 1, layout=lambda entry: "files")
def read(entry, root):
    """Return nothing."""
'''
NEW_FAMILY = '''"""Another family of metrics."""

from camstudy.metrics.scoring import FAMILIES


@FAMILIES.register("another", title="Another", needs=("maps", "fixations"), gives=("heatmap", "fixation"))
def another(work):
    """Return nothing."""
'''
NEW_FIGURE = '''

@FIGURES.register("blank", title="Nothing", needs="scores")
def _blank(inputs):
    """Return nothing."""
'''
PHOTOS = prepared("photos") | classified(*MODELS, on=("photos",)) | FROM_SCORES

LEDGER: dict[str, tuple[Callable[[Project], None], set[str]]] = {
    "nothing": (lambda project: None, set()),
    # Code.
    "a comment in a method": (text(CAM, "def gradcam(", "# A comment.\ndef gradcam("), set()),
    "a docstring of a method": (text(CAM, '    """Return ReLU', '    """We return ReLU'), set()),
    "an unused helper beside methods": (appended(CAM, "\n\ndef helper(values):\n    return values + 1\n"), set()),
    "an unused module beside methods": (appended("camstudy/explain/unused.py", '"""Unused."""\nX = 1\n'), set()),
    "another method in a module": (appended(CAM, NEW_METHOD), set()),
    "another metric": (appended("camstudy/metrics/agreement.py", NEW_METRIC), set()),
    "another source of data": (
        both(
            appended("camstudy/data/sources/another.py", NEW_SOURCE),
            appended("workflow/schemas/sources/another.yaml", KEYS.format(key="source")),
        ),
        set(),
    ),
    "another family of metrics": (
        both(
            appended("camstudy/metrics/scoring/another.py", NEW_FAMILY),
            appended("workflow/schemas/families/another.yaml", KEYS.format(key="family")),
        ),
        set(),
    ),
    "what a family of metrics finds": (
        text("camstudy/metrics/scoring/localization.py", "boxes.any(2).sum(1)", "boxes.any(2).sum(-1)"),
        located(*MODELS) | located("control", methods=[CONTROL]) | FROM_SCORES,
    ),
    "what all families have in common": (
        text("camstudy/metrics/run.py", "for start in tqdm(", "for start in tqdm(0 or "),
        scored(*MODELS) | faithful(*MODELS, methods=[CONTROL]) | CONTROL_SCORES | FROM_SCORES | QUALITATIVE,
    ),
    "another figure": (appended("camstudy/figures/__init__.py", NEW_FIGURE), set()),
    "the formula of a method": (
        text(
            GRADIENTS,
            "return _reduce(_gradient(context, context.images), reduce)",
            "return -_reduce(_gradient(context, context.images), reduce)",
        ),
        of_method("input_gradient"),
    ),
    "new code with an old time": (
        then(
            text(
                GRADIENTS,
                "return _reduce(_gradient(context, context.images), reduce)",
                "return -_reduce(_gradient(context, context.images), reduce)",
            ),
            aged(GRADIENTS),
        ),
        of_method("input_gradient"),
    ),
    "the engine that explains": (
        text("camstudy/explain/run.py", "    pending = writer.pending()\n", "    pending = list(writer.pending())\n"),
        explained(*MODELS) | scored(*MODELS) | FROM_SCORES | QUALITATIVE,
    ),
    "a helper beside metrics": (
        text(
            "camstudy/metrics/agreement.py",
            "def _overlap(",
            "def _overlap_(maps, human):\n    return 0\n\n\ndef _overlap(",
        ),
        set(),
    ),
    "what two metrics have in common": (
        text("camstudy/metrics/agreement.py", "divmod(0.9 *", "divmod(0.8 *"),
        agreeing(*MODELS) | agreeing("control", methods=[CONTROL]) | FROM_SCORES | QUALITATIVE,
    ),
    "the script that draws tables": (
        text(
            "scripts/make_table.py", "    for extension, path in", "    print(record.name)\n    for extension, path in"
        ),
        TABLES,
    ),
    "a comment in a script": (appended("scripts/explain.py", "# The end.\n"), set()),
    "a comment in a rule": (appended("workflow/rules/heatmaps.smk", "# The end.\n"), set()),
    # Entries.
    "a model's title": (
        study("catalog", "models", "net", "title", value="Another"),
        CONFIGURATION | EVERYTHING_DRAWN,
    ),
    "a method's title": (
        study("catalog", "methods", "gradcam", value={"title": "Another", "method": "gradcam"}),
        CONFIGURATION | EVERYTHING_DRAWN,
    ),
    "a protocol's title": (
        text("config/catalog/protocols.yaml", "    boxes:", "    boxes_: {family: localization}\n    boxes:"),
        set(),
    ),
    "a model's recipe": (
        study("catalog", "models", "net_dcls", "train", value=TRAIN | {"learning_rate": 0.003}),
        CONFIGURATION | of_model("net_dcls"),
    ),
    "a default of a recipe written out": (
        study("catalog", "models", "net_dcls", "train", value=TRAIN | {"momentum": 0.9, "ema_decay": None, "gpu": 2}),
        set(),
    ),
    "a default of a model written out": (
        study("catalog", "models", "net", "weights", value={"path": "net.safetensors", "key": None}),
        set(),
    ),
    "a default of a method written out": (
        study(
            "catalog",
            "methods",
            "input_gradient",
            value={"title": "Gradient", "method": "input_gradient", "parameters": {"reduce": "max_abs"}, "passes": 3},
        ),
        set(),
    ),
    "a method's parameter": (
        study(
            "catalog",
            "methods",
            "input_gradient",
            value={"title": "Gradient", "method": "input_gradient", "parameters": {"reduce": "sum"}, "passes": 3},
        ),
        CONFIGURATION | of_method("input_gradient"),
    ),
    "a method's estimate": (
        study(
            "catalog", "methods", "input_gradient", value={"title": "Gradient", "method": "input_gradient", "passes": 9}
        ),
        set(),
    ),
    "the explained class": (
        study("catalog", "methods", "gradcam", value={"title": "Grad-CAM", "method": "gradcam", "target": "predicted"}),
        # The control is now compared with methods of both classes, and tried on both.
        CONFIGURATION | of_method("gradcam") | of_control("center_bias_predicted"),
    ),
    "the floor of a threshold": (
        text("config/catalog/methods.yaml", "{floor: 0.3}}", "{floor: 0.5}}"),
        CONFIGURATION | scored(*MODELS, methods=["threshold_gradcam"]) | FROM_SCORES | QUALITATIVE,
    ),
    "a model's target layer": (
        study("catalog", "models", "net", "target_layer", value="layer3"),
        CONFIGURATION | checked("net") | explained("net") | scored("net") | FROM_SCORES | QUALITATIVE,
    ),
    "a model's architecture": (
        study("catalog", "models", "net_dcls", "variant", value={"dcls": DCLS["dcls"] | {"kernel_count": 4}}),
        CONFIGURATION | checked("net_dcls") | of_model("net_dcls"),
    ),
    "the seed of a model": (
        study("catalog", "models", "net_dcls", "seed", value=1),
        CONFIGURATION | of_model("net_dcls"),
    ),
    "an entry that the study does not use": (
        study("catalog", "methods", "mine", value={"method": "gradcam", "stage": 1}),
        set(),
    ),
    "the human ceiling": (
        study("catalog", "datasets", "tiny", "human_ceiling", value=0.7),
        CONFIGURATION | CEILING | FROM_SCORES,
    ),
    "the order of keys": (turned, set()),
    # The study.
    "a method left out": (
        study("methods", value=METHODS[:-1]),
        CONFIGURATION | FROM_SCORES | QUALITATIVE,
    ),
    "a method added": (
        study("methods", value=[*METHODS, "layer_cam"]),
        CONFIGURATION | of_method("layer_cam"),
    ),
    "a figure added": (
        study("figures", value=[*STUDY["figures"], "accuracy_alignment"]),
        CONFIGURATION | {"Draw accuracy_alignment of ledger"},
    ),
    "a table left out": (study("tables", value=["dcls"]), CONFIGURATION),
    "the seed of the bootstrap": (study("seed", value=1), CONFIGURATION | FROM_SCORES),
    "the level of significance": (
        study("statistics", value={"resamples": 199, "alpha": 0.01}),
        CONFIGURATION | TABLES | ALIGNMENT,
    ),
    "another protocol of a family": (
        study("protocols", value=["human_maps", "rise_fast", "boxes_any_tie"]),
        # The other study has scored one of the models, and the controls, by it.
        CONFIGURATION | located("net_dcls", protocol="boxes_any_tie") | FROM_SCORES,
    ),
    "intervals in tables": (study("show_intervals", value=True), CONFIGURATION | LOCALIZATION),
    "which images count": (study("images", value="correct"), CONFIGURATION | FROM_SCORES),
    "which images count, written out": (study("images", value="all"), set()),
    "the question": (study("question", value="Who?"), CONFIGURATION),
    "a primary metric": (study("primary", value="average_drop"), CONFIGURATION),
    "a primary metric that is compared for it alone": (
        study("primary", value="dice_at_10"),
        CONFIGURATION | FROM_SCORES,
    ),
    # How jobs run.
    "batches": (study("explain", value={"chunk_size": 8, "batch_size": 2}), set()),
    "chunks": (study("explain", value={"chunk_size": 5, "batch_size": 4}), set()),
    "threads": (study("threads", value={"prepare": 2, "train": 2, "explain": 2}), set()),
    "device": (study("device", value="auto"), set()),
    "length of jobs": (study("resources", value={"minutes_per_job": 1}), set()),
    # Files.
    "everything touched": (touched, set()),
    "weights of the same size": (
        replaced("net.safetensors"),
        fetched(*MODELS) | of_model(*MODELS),
    ),
    "a photograph of the same size": (lambda project: replaced(photo(project))(project), PHOTOS),
    "a photograph less": (lambda project: (project.path / photo(project)).unlink(), PHOTOS),
    "no photographs in reach": (lambda project: shutil.rmtree(project.path / "photos"), set()),
    "the checksum of the weights": (
        lambda project: study(
            "catalog",
            "models",
            "net",
            "weights",
            value={"path": "net.safetensors", "sha256": sha256_file(project.path / "net.safetensors")},
        )(project),
        CONFIGURATION,
    ),
    "weights elsewhere": (
        then(
            lambda project: (project.path / "net.safetensors").rename(project.path / "moved.safetensors"),
            lambda project: project.write_study(
                json.loads(json.dumps(STUDY).replace("net.safetensors", "moved.safetensors"))
            ),
        ),
        CONFIGURATION,
    ),
}


@pytest.mark.parametrize("edit", LEDGER)
def test_edit(project, edit):
    change, expected = LEDGER[edit]
    change(project)
    assert planned(project) == expected


def test_studies_in_turn_make_nothing_anew(project):
    """They share data, models and maps, and differ in protocols, seeds, batches and estimates."""
    for _ in range(2):
        assert planned(project) == set()
        assert planned(project, "--configfile", "other.yaml") == set()


def test_a_trial_touches_nothing(project):
    found = planned(project, "--config", "n_images=8")
    own = drawn("tiny", 1) | prepared("tiny") | classified(*MODELS, on=("tiny",)) | explained(*MODELS) | CEILING
    own |= CONTROL_MAPS | CONTROL_SCORES | located(*MODELS) | agreeing(*MODELS)
    own |= faithful(*MODELS, methods=[*METHODS, CONTROL]) | FROM_SCORES | QUALITATIVE | CONFIGURATION
    named = {message.replace("tiny", "tiny-n8").replace("ledger", "ledger-n8") for message in own}
    assert found == named
    project.run("--dry-run", "--config", "n_images=8")
    assert planned(project) == set()


def shuffled(project: Project) -> None:
    """Give the results times in no order, as copying does, and take Snakemake's records away."""
    shutil.rmtree(project.path / ".snakemake")
    files = sorted(path for path in (project.path / "results").rglob("*") if path.is_file())
    for number, path in enumerate(sorted(files, key=lambda path: path.name[::-1])):
        os.utime(path, (1e9 + 10 * number, 1e9 + 10 * number))


def test_a_clone_linked_to_results_plans_nothing_once_they_are_recorded(project, monkeypatch):
    shuffled(project)
    assert planned(project)
    monkeypatch.setenv("CAMSTUDY_ACCEPTING_RECORDS", "1")
    told = project.run("records")
    assert "results without a record are what is planned, and recorded now" in told.stdout + told.stderr
    monkeypatch.delenv("CAMSTUDY_ACCEPTING_RECORDS")
    assert planned(project) == set()


def test_a_clone_linked_to_other_results_stops(project):
    shuffled(project)
    study("catalog", "models", "net_dcls", "train", value=TRAIN | {"learning_rate": 0.003})(project)
    done = project.run("--dry-run", check=False)
    told = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in told
    assert "results/models/net_dcls/model.json (training)" in told
    assert "`make records` lists them all" in told
    assert "results/models/net/model.json" not in told
