"""Plugins: where they are looked for, what they may register, and how mistakes in them are told."""

import pytest
import yaml
from examples import files, loaded

from camstudy.core import code, plugins
from camstudy.core.errors import CamstudyError
from camstudy.core.registry import ModuleRegistry
from camstudy.data.sources import SOURCES, Source
from camstudy.explain.methods import METHODS
from camstudy.study.catalog import merged, with_catalogs
from camstudy.study.plugins import add_plugins
from camstudy.study.schema import forget_schema, load_schema, resolve
from camstudy.training.terms import TERMS


@pytest.fixture
def page(tmp_path):
    """The modules of docs/extending.md, loaded; afterwards all is as it was."""
    with loaded(tmp_path) as paths:
        yield paths


@pytest.fixture
def clean(tmp_path):
    """Nothing of a plugin is left after the test."""
    with loaded(tmp_path, "my_methods.py"):
        yield


def test_what_plugins_register_is_a_unit_with_the_digest_of_its_own_code(page):
    names = {"my_methods": "method:occlusion", "my_metrics": "metric:cosine", "my_tables": "table:ranking"}
    names |= {"my_figures": "figure:bars", "folders": "source:folders", "activation": "variant:activation"}
    for module, unit in (names | {"confidence": "term:confidence", "focus": "family:focus"}).items():
        assert code.units()[unit].split(":")[0] == module
        assert len(code.revision(unit).split(":")[1]) == 16
    assert code.revision("method:occlusion") != code.revision("method:gradcam_elementwise")


def test_without_plugins_there_is_nothing_of_them(tmp_path):
    with loaded(tmp_path):
        assert "method:occlusion" in code.units()
    assert "method:occlusion" not in code.units()
    assert "occlusion" not in METHODS
    assert "folders" not in load_schema()["$defs"]["dataset"]["properties"]["source"]["enum"]


def test_names_and_keys_of_plugins_are_in_the_schema(page):
    schema = load_schema()
    definitions = schema["$defs"]
    assert "folders" in definitions["dataset"]["properties"]["source"]["enum"]
    assert "focus" in definitions["protocol"]["properties"]["family"]["enum"]
    assert {"dcls", "activation"} <= definitions["model"]["properties"]["variant"]["properties"].keys()
    assert definitions["training"]["properties"]["terms"]["properties"].keys() >= {"confidence"}
    assert "ranking" in schema["properties"]["tables"]["items"]["enum"]
    assert "bars" in schema["properties"]["figures"]["items"]["enum"]
    assert resolve({"$ref": "#/$defs/term_confidence"})["properties"]["weight"]["default"] == 0.1


def test_a_plugin_is_looked_for_beside_its_study_then_here(tmp_path, monkeypatch, clean):
    monkeypatch.chdir(tmp_path)
    for name in ("base.yaml", "mine/study.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / "base.yaml").write_text("plugins: [other.py]\n")
    (tmp_path / "mine/study.yaml").write_text("plugins: [one_of_mine.py, two_of_mine.py]\n")
    for name in ("mine/one_of_mine.py", "one_of_mine.py", "two_of_mine.py"):
        (tmp_path / name).write_text("")
    config = {"plugins": ["one_of_mine.py", "two_of_mine.py"]}
    add_plugins(config, ["base.yaml", "mine/study.yaml"])
    assert config == {"plugins": ["mine/one_of_mine.py", "two_of_mine.py"]}
    # As a job finds it, and a configuration that was written down.
    add_plugins(config, [])
    assert config == {"plugins": ["mine/one_of_mine.py", "two_of_mine.py"]}
    with pytest.raises(CamstudyError, match=r"`plugins\[0\]`: no file `three.py` in .*; put it there, or correct"):
        add_plugins({"plugins": ["three.py"]}, [])
    with pytest.raises(CamstudyError, match=r"there is a module `one_of_mine` already, .*mine/one_of_mine.py; rename"):
        plugins.load(["one_of_mine.py"])


def test_what_is_no_list_of_text_is_left_to_the_validation():
    for stated in (None, "my_methods.py", [1], {"a": 1}, [""]):
        config = {"plugins": stated}
        add_plugins(config, [])
        assert config == {"plugins": stated}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "\nimport nothing_of_this_name\n",
            "line 2: ModuleNotFoundError: No module named 'nothing_of_this_name'; mend",
        ),
        ("def f(:\n", "line 1: SyntaxError: "),
        ("\n\nraise KeyError('a')\n", "line 3: KeyError: 'a'; mend it, or take the file out of `plugins`"),
        (
            "from camstudy.data.sources import SOURCES\n\n\n@SOURCES.register('cub200', kind='photographs', has=(), "
            "images=len)\ndef read(entry, root): ...\n",
            "line 4: source `cub200` is registered twice: in .*/camstudy/data/sources/cub200.py, line 1 and .*, line 4",
        ),
    ],
)
def test_mistakes_are_told_with_file_and_line(tmp_path, clean, text, message):
    path = tmp_path / "with_a_mistake.py"
    path.write_text(text)
    with pytest.raises(CamstudyError, match=f"plugin {path}, {message}"):
        plugins.load([path])


def test_names_that_are_no_modules_or_taken_are_refused(tmp_path, clean):
    for name, message in (("a-b.py", "expected a Python module"), ("x.txt", "found x.txt"), ("json.py", "there is a")):
        (tmp_path / name).write_text("")
        with pytest.raises(CamstudyError, match=message):
            plugins.load([tmp_path / name])


def test_code_that_cannot_be_found_is_asked_for(tmp_path, clean):
    path = tmp_path / "by_a_call.py"
    path.write_text(
        "from camstudy.explain.registry import METHODS as M\n\n\n@M.register('x', needs='model', source='')\n"
    )
    path.write_text(path.read_text() + "def x(context): ...\n")
    plugins.load([path])
    try:
        with pytest.raises(CamstudyError, match=r'method `x` of a plugin: .*write `@METHODS.register\("x", ...\)`'):
            code.revision("method:x")
    finally:
        del METHODS._entries["x"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "the source `folders` has no file that says its keys; write `folders.schema.yaml` beside"),
        ({"properties": None}, "has no mapping `properties`"),
        ({"properties": {}}, "lacks `properties.source`, `properties.root`, "),
        ({"required": "root"}, "`required` is no JSON schema"),
        (
            {"properties.root": {"$ref": "#/$defs/roo"}},
            "`properties.root`: unknown definition `roo`, did you mean `root`?",
        ),
        ({"properties.more": {"type": "string"}}, "`properties.more` needs a `description`, and a `default`"),
        ("{", "is no YAML that can be read"),
    ],
)
def test_a_file_of_keys_that_says_too_little_is_refused(tmp_path, change, message):
    with loaded(tmp_path, "folders.py"):
        path = tmp_path / "folders.schema.yaml"
        content = yaml.safe_load(files()[path.name])
        if isinstance(change, dict):
            for key, value in change.items():
                outer, _, inner = key.partition(".")
                content[outer] = content[outer] | {inner: value} if inner else value
        path.write_text(change if isinstance(change, str) else yaml.safe_dump(content))
        if change is None:
            path.unlink()
        forget_schema()
        with pytest.raises(CamstudyError) as caught:
            load_schema()
        assert message in str(caught.value)


def test_registries_of_modules_list_what_is_registered_elsewhere(tmp_path):
    before = list(SOURCES)
    with loaded(tmp_path, "folders.py"):
        assert list(SOURCES) == [*before, "folders"]
        assert len(SOURCES) == len(before) + 1
        assert SOURCES.place("folders") == (str(tmp_path / "folders.py"), 9)
    assert list(SOURCES) == before
    assert "confidence" not in TERMS


def test_a_name_of_a_module_is_its_own():
    registry = ModuleRegistry("source", Source, "camstudy.data.sources")
    with pytest.raises(CamstudyError, match="source `voc2012` is registered twice"):
        registry.register("voc2012", kind="photographs", has=(), images=len)(lambda entry, root: None)


def test_a_study_is_laid_over_the_catalogues(tmp_path):
    (tmp_path / "config/catalog").mkdir(parents=True)
    (tmp_path / "config/catalog/models.yaml").write_text("catalog: {models: {net: {arch: a, kwargs: {x: [1, 2]}}}}")
    (tmp_path / "config/catalog/own.yaml").write_text("catalog: {datasets: {d: {source: digits}}}")
    (tmp_path / "config/resources.yaml").write_text("resources: {rules: {train: {minutes: 2}}}")
    study = {"study": "s", "catalog": {"models": {"net": {"kwargs": {"x": [3], "y": 1}}, "new": {"arch": "b"}}}}
    found = with_catalogs(study, tmp_path)
    assert found == {
        "study": "s",
        "catalog": {
            "models": {"net": {"arch": "a", "kwargs": {"x": [3], "y": 1}}, "new": {"arch": "b"}},
            "datasets": {"d": {"source": "digits"}},
        },
        "resources": {"rules": {"train": {"minutes": 2}}},
    }
    assert study["catalog"]["models"]["net"] == {"kwargs": {"x": [3], "y": 1}}
    assert merged({"a": {"b": 1}}, {"a": None}) == {"a": None}
    assert merged({"a": 1}, {"a": {"b": 2}}) == {"a": {"b": 2}}
