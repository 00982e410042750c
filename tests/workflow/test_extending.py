"""The modules of docs/extending.md, as printed: each is all that is added, and nothing else is made anew."""

import filecmp
import json
from pathlib import Path

import examples
import pytest
import yaml
from conftest import PARTS, ROOT, TINY, Project
from planning import FORKS
from test_reruns import (
    CONFIGURATION,
    CONTROL,
    FROM_SCORES,
    METHODS,
    MODELS,
    PLAIN,
    QUALITATIVE,
    RESNET,
    STUDY,
    TRAIN,
    _stub,
    agreeing,
    classified,
    fetched,
    of_method,
    of_model,
    planned,
    prepared,
    project,  # noqa: F401  (a fixture)
    stubbed,  # noqa: F401  (a fixture)
)


def edited(copy: Project) -> set[str]:
    """Return the files of the project that are not as they are in the repository, or not there."""
    found = set()
    for part in PARTS:
        for path in [copy.path / part, *(copy.path / part).rglob("*")]:
            name = path.relative_to(copy.path)
            if path.is_file() and "__pycache__" not in path.parts:
                ours = ROOT / name
                if not ours.is_file() or not filecmp.cmp(path, ours, shallow=False):
                    found.add(name.as_posix())
    return found


def changed(**keys: object) -> dict:
    """Return the study with other values, entries of the catalogue added."""
    catalog = {kind: STUDY["catalog"].get(kind, {}) | entries for kind, entries in keys.pop("catalog", {}).items()}
    return STUDY | keys | {"catalog": STUDY["catalog"] | catalog}


TERM = {"net_dcls": STUDY["catalog"]["models"]["net_dcls"] | {"train": TRAIN | {"terms": {"confidence": {}}}}}
ACTIVATION = {"varied": PLAIN | {"weights": {"path": "net.safetensors"}, "variant": {"activation": {"kind": "GELU"}}}}
AGREEING = agreeing(*MODELS) | agreeing("control", methods=[CONTROL])
EXTENSIONS = {
    "my_methods.py": (
        changed(
            methods=[*METHODS, "elementwise"],
            catalog={"methods": {"elementwise": {"method": "gradcam_elementwise"}}},
        ),
        of_method("elementwise"),
    ),
    "my_metrics.py": (
        changed(
            protocols=["people", "rise_fast", "boxes"],
            catalog={"protocols": {"people": {"family": "agreement", "metrics": ["spearman", "cosine"]}}},
        ),
        {message.replace("human_maps", "people") for message in AGREEING} | FROM_SCORES | QUALITATIVE,
    ),
    "focus.py": (
        changed(
            protocols=[*STUDY["protocols"], "peaks"],
            catalog={"protocols": {"peaks": {"family": "focus", "share": 0.2}}},
        ),
        {message.replace("human_maps", "peaks") for message in AGREEING} | FROM_SCORES,
    ),
    "my_tables.py": (changed(tables=[*STUDY["tables"], "ranking"]), {"Make table ranking of ledger"}),
    "my_figures.py": (changed(figures=[*STUDY["figures"], "bars"]), {"Draw bars of ledger"}),
    "my_networks.py": (
        changed(
            models=[*MODELS, "tiny"],
            catalog={"models": {"tiny": {"arch": "my_networks.tiny_net", "num_classes": 10, "weights": "random"}}},
        ),
        of_model("tiny") | {"Check the network tiny"},
    ),
    "folders.py": (
        changed(
            prediction_dataset="own",
            catalog={"datasets": {"own": {"source": "folders", "root": "photos", "n_images": 7}}},
        ),
        prepared("own") | classified(*MODELS, on=("own",)) | FROM_SCORES,
    ),
    "activation.py": (
        changed(models=[*MODELS, "varied"], catalog={"models": ACTIVATION}),
        fetched("varied") | of_model("varied") | {"Check the network varied"},
    ),
    "confidence.py": (changed(catalog={"models": TERM}), of_model("net_dcls")),
}
# Where a module lies in the package, and where the file of its keys does.
ROOMS = {
    "folders.py": ("camstudy/data/sources", "workflow/schemas/sources"),
    "activation.py": ("camstudy/models/variants", "workflow/schemas/variants"),
    "confidence.py": ("camstudy/training/terms", "workflow/schemas/terms"),
    "focus.py": ("camstudy/metrics/scoring", "workflow/schemas/families"),
}


def add_to_package(copy: Project, name: str) -> set[str]:
    """Add a module of the page and the file of its keys to the package, and return their names."""
    room, schemas = ROOMS[name]
    stem, printed = Path(name).stem, examples.files()
    (copy.path / schemas).mkdir(exist_ok=True)
    added = {f"{room}/{name}": printed[name], f"{schemas}/{stem}.yaml": printed[f"{stem}.schema.yaml"]}
    for place, text in added.items():
        (copy.path / place).write_text(text)
    return {*added}


def test_every_module_of_the_page_is_tried():
    assert EXTENSIONS.keys() == {name for name in examples.files() if name.endswith(".py")}


@pytest.mark.parametrize("name", EXTENSIONS)
def test_a_plugin_is_all_that_is_added(project, name):  # noqa: F811
    study, expected = EXTENSIONS[name]
    examples.write(project.path, name)
    project.write_study(study | {"plugins": [name]})
    assert planned(project) == CONFIGURATION | expected
    assert edited(project) == set()


def test_plugins_that_nothing_asks_for_make_nothing_anew(project):  # noqa: F811
    project.write_study(STUDY | {"plugins": examples.write(project.path)})
    assert planned(project) == CONFIGURATION


@pytest.mark.parametrize("name", ROOMS)
def test_a_module_and_its_keys_are_all_that_is_added_to_the_package(project, name):  # noqa: F811
    added = add_to_package(project, name)
    study, expected = EXTENSIONS[name]
    project.write_study(study)
    assert planned(project) == CONFIGURATION | expected
    assert edited(project) == added


def test_modules_of_the_package_that_nothing_asks_for_make_nothing_anew(project):  # noqa: F811
    for name in ROOMS:
        add_to_package(project, name)
    assert planned(project) == set()


def test_an_edit_in_a_plugin_makes_anew_what_it_is_about(project):  # noqa: F811
    entries = {"elementwise": {"method": "gradcam_elementwise"}, "occlusion": {"method": "occlusion"}}
    study = changed(methods=[*METHODS, *entries], catalog={"methods": entries}, plugins=["my_methods.py"])
    examples.write(project.path, "my_methods.py")
    project.write_study(study)
    process = FORKS.Process(target=_stub, args=(project.path, "study.yaml", {}))
    process.start()
    process.join()
    project.run("--touch", "--forceall")
    assert planned(project) == set()
    project.edit("my_methods.py", "def gradcam_elementwise", "# A comment.\ndef gradcam_elementwise")
    assert planned(project) == set()
    project.edit("my_methods.py", ".relu()", ".abs()")
    assert planned(project) == of_method("elementwise")


def test_mistakes_in_plugins_are_told_with_their_line(project):  # noqa: F811
    text = examples.files()["my_methods.py"]
    folder = project.path / "mine"
    folder.mkdir()
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY | {"plugins": ["my_methods.py"]}))
    cases = {
        text.replace('"gradcam_elementwise", needs', '"gradcam", needs'): (
            f"plugin mine/my_methods.py, line 6: explanation method `gradcam` is registered twice: "
            f"in {project.path}/camstudy/explain/methods/cam.py, line "
        ),
        f"{text}\nprint(undefined)\n": "NameError: name 'undefined' is not defined; mend it",
        text.replace("(activations, gradients):", "(activations, gradients)"): "my_methods.py, line 7: SyntaxError: ",
    }
    for content, message in cases.items():
        (folder / "my_methods.py").write_text(content)
        done = project.run("--dry-run", "--configfile", "mine/study.yaml", check=False)
        told = done.stdout + done.stderr
        assert (done.returncode, "Traceback" in told) == (1, False), told
        assert message in told
    (folder / "my_methods.py").unlink()
    done = project.run("--dry-run", "--configfile", "mine/study.yaml", check=False)
    line = (folder / "study.yaml").read_text().splitlines().index("plugins:") + 2
    where = f"`plugins[0]` ({folder / 'study.yaml'}, line {line}): "
    message = f"{where}no file `my_methods.py` in {folder} and in {project.path}; put it there, or correct"
    assert message in done.stdout + done.stderr


def test_jobs_have_the_plugins_that_lie_beside_their_study(copied):
    """One that trains, in a process of its own, and one that explains: a network, a term and a method of a plugin."""
    folder = copied.path / "mine"
    folder.mkdir()
    names = ["my_methods.py", "my_networks.py", "confidence.py", "my_tables.py"]
    examples.write(folder, *names)
    recipe = RESNET["train"] | {"epochs": 2, "terms": {"confidence": {"weight": 0.2}}}
    own = {"arch": "my_networks.tiny_net", "num_classes": 10, "input": {"size": 64}, "train": recipe}
    catalog = TINY["catalog"] | {
        "models": TINY["catalog"]["models"] | {"own": own},
        "methods": {"elementwise": {"method": "gradcam_elementwise"}},
    }
    study = TINY | {
        "study": "mine",
        "plugins": names,
        "models": ["own"],
        "methods": ["elementwise", "gradcam"],
        "comparisons": [],
        "tables": ["ranking"],
        "figures": [],
        "catalog": catalog,
    }
    (folder / "study.yaml").write_text(json.dumps(study))
    copied.run("--configfile", "mine/study.yaml")
    assert "| Elementwise" in (copied.path / "results/studies/mine/tables/ranking.md").read_text().title()
    assert planned(copied, "--configfile", "mine/study.yaml") == set()
    # What lies beside the results says where the plugins are, seen from here.
    recorded = yaml.safe_load((copied.path / "results/studies/mine/config.yaml").read_text())
    assert recorded["plugins"] == [f"mine/{name}" for name in names]
