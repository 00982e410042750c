"""Digests of code: what counts and what does not, how names are followed, and that all digests have a revision."""

import shutil
from textwrap import dedent

import pytest

from camstudy.core import code
from camstudy.core.code import Code
from camstudy.core.syntax import read_module
from camstudy.data.sources import SOURCES
from camstudy.explain.methods import METHODS
from camstudy.figures import FIGURES
from camstudy.metrics.families import METRICS
from camstudy.models.variants import VARIANTS
from camstudy.tables import TABLES
from camstudy.training.terms import TERMS


def digest(text, name="f"):
    return read_module(dedent(text)).definitions[name].digest


def uses(text, name="f"):
    return [use for use in read_module(dedent(text)).definitions[name].uses if use[0] != name]


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """Return a function that writes modules of a user, which are on the path, by their file without the ending."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(texts=None, **more):
        for name, text in ((texts or {}) | more).items():
            path = tmp_path / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(dedent(text))
        code._folders.cache_clear()
        return Code()

    yield write
    code._folders.cache_clear()


# ---- the text of a definition


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(x, *, y=1):\n    return -x + y\n", "a9a1b42dadb5be96"),
        ("class f(Base):\n    a: int = 3\n\n    def g(self):\n        yield from self.a[1:]\n", "cbeab1acbadf48b8"),
        ("f = {k: v for k, v in [('ä', 1e-7)] if not k}\n", "ad97acb9dbab1d2e"),
        ("async def f():\n    async with a as b, c:\n        raise E(f'{b!r:>{3}}') from None\n", "06cbe1d5a70bd4fb"),
        (
            "@R.register('f', needs='model', label='F')\ndef f(a):\n    match a:\n        case [1, *b]: return b\n",
            "7edc4e5315cbd41d",
        ),
    ],
)
def test_digests_are_the_same_on_every_machine(text, expected):
    assert digest(text) == expected


SAMPLE = """
    def f(x, y=2):
        total = 0
        for value in x:
            total += value * y
        return total
"""
SAME = [
    ('"""Text."""\n', ""),
    ("total = 0", "total = 0  # from the start"),
    ("def f(x, y=2):", 'def f(x, y=2):\n        """Return the sum."""'),
    ("total += value * y", "total += (value\n                * y)"),
    ("def f(x, y=2):", "def f(x: list, y: int = 2) -> int:"),
    ("total = 0", "total: int = 0"),
    ("return total", "'a text alone'\n        return total"),
]
OTHER = [
    ("y=2", "y=3"),
    ("y=2", "*, y=2"),
    ("value * y", "value / y"),
    ("+=", "-="),
    ("total = 0", "total = 0.0"),
    ("total = 0", "total = False"),
    ("def f(x, y=2):", "@cache\n    def f(x, y=2):"),
    ("return total", "return -total"),
    ("return total", "return total.x"),
    ("x, y", "y, x"),
]


@pytest.mark.parametrize(("old", "new"), SAME)
def test_comments_docstrings_layout_and_annotations_do_not_count(old, new):
    assert digest(SAMPLE.replace(old, new)) == digest(SAMPLE)


@pytest.mark.parametrize(("old", "new"), OTHER)
def test_all_else_counts(old, new):
    assert old in SAMPLE
    assert digest(SAMPLE.replace(old, new)) != digest(SAMPLE)


def test_annotations_of_fields_count():
    assert digest("class f:\n    a: int = 0\n") != digest("class f:\n    a: ClassVar[int] = 0\n")
    assert uses("class T: ...\nclass f:\n    a: T\n") == []


def test_facts_that_are_printed_do_not_count():
    registered = "@METRICS.register('f', label='{}', family='{}')\ndef f(): ...\n"
    assert digest(registered.format("F", "a")) == digest(registered.format("G", "a"))
    assert digest(registered.format("F", "a")) != digest(registered.format("F", "b"))
    assert uses("METRICS = 1\n" + registered) == []


# ---- names


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("return a", ["a"]),
        ("a = 1; return a", []),
        ("return [a for a in b]", ["b"]),
        ("return [c for a in b if a]", ["b", "c"]),
        ("return [a for a in a]", ["a"]),
        ("return lambda a: a + b", ["b"]),
        ("def g(a=b):\n        return a, c\n    return g", ["b", "c"]),
        ("def g():\n        nonlocal_ = a\n    a = 1", []),
        ("a = 0\n    def g():\n        nonlocal a\n        a = b", ["b"]),
        ("global a\n    a = 1", ["a"]),
        ("try: pass\n    except b as a: a", ["b"]),
        ("with b as a: return a", ["b"]),
        ("for a in b: a", ["b"]),
        ("class G:\n        a = 1\n        def g(self): return a", ["a"]),
        ("class G:\n        a = 1\n        c = a", []),
        ("if (a := b): return a", ["b"]),
        ("[a := x for x in b]; return a", ["b"]),
        ("match b:\n        case {'x': 1, **a}: return a\n        case c.d: pass", ["b", "c"]),
        ("x: a = b", ["b"]),
        ("return f'{a}'", ["a"]),
        ("del a", []),
    ],
)
def test_names_of_a_function_are_told_from_those_of_the_module(body, found):
    text = f"a = b = c = 0\n@d\ndef f(self, x=e, *args: a) -> b:\n    {body}\nd = e = 0\n"
    assert [name for name, *_ in uses(text)] == sorted({*found, "d", "e"})


def test_imports_lead_to_what_they_name():
    text = """
        import os.path
        import sound.filters as filters
        from sound import envelope as env, Wave
        from .near import thing

        def f():
            from sound.late import echo
            import sound.deep
            return os.path.join, filters.low.cut, env, Wave.of, thing, echo.far, sound.deep.x
    """
    assert uses(text) == [
        ["Wave", "sound.Wave", "of"],
        ["echo", "sound.late.echo", "far"],
        ["env", "sound.envelope", ""],
        ["filters", "sound.filters", "low.cut"],
        ["os", "os", "path.join"],
        ["sound", "sound", "deep.x"],
        ["thing", ".near.thing", ""],
    ]


def test_definitions_are_followed_through_modules(modules):
    inner = "from .other import *\nLIMIT = 3\ndef helper(): return LIMIT\ndef unused(): return helper()\n"
    other = "print('hello')\ndef deep(): return 1\nclass Thing:\n    def a(self): return deep()\n"
    found = modules(
        {
            "pack/__init__": "from pack.inner import helper as assist\nfrom . import other\n",
            "pack/inner": inner,
            "pack/other": other,
        },
        mynet="""
            import pack
            import pack.inner as inner
            from pack import assist, other
            import numpy as np

            def a(): return assist()
            def b(): return other.Thing
            def c(): return pack.inner.LIMIT, np.zeros
            def d(): return getattr(inner, "LIMIT")
            def e(): return inner.deep()
        """,
    )
    effects = ("pack.other", "")
    assert found.slice("mynet:a") == {("mynet", "a"), ("pack.inner", "helper"), ("pack.inner", "LIMIT"), effects} | {
        ("pack.other", "deep"),
        ("pack.other", "Thing"),
    }
    assert found.slice("mynet:b") == {("mynet", "b"), ("pack.other", "Thing"), ("pack.other", "deep"), effects}
    assert ("pack.inner", "LIMIT") in found.slice("mynet:c")
    assert ("pack.inner", "helper") not in found.slice("mynet:c")
    assert ("pack.inner", "unused") in found.slice("mynet:d")
    assert ("pack.other", "deep") in found.slice("mynet:e")


def test_what_a_name_is_bound_to_counts(modules):
    def of(text):
        return modules(mynet=text).digest("mynet.f")

    text = "from math import sin as g\ndef f(): return g(1)\n"
    assert of(text) != of(text.replace("sin", "cos"))
    assert of("import math\ndef f(): return 1\n") == of("def f(): return 1\n")


def test_a_users_network_is_followed_and_installed_ones_count_by_name(modules):
    def of(path, **texts):
        return modules(**texts).digest(path)

    layers = {"mylayers": "def block(n): return n\n"}
    net = {"mynet": "import mylayers\nclass Net:\n    def __init__(self, width=16): self.a = mylayers.block(width)\n"}
    before = of("mynet.Net", **net, **layers)
    assert of("mynet.Net", mynet=net["mynet"].replace("16", "8")) != before
    assert of("mynet.Net", **net, mylayers="def block(n): return 2 * n\n") != before
    assert of("mynet.Net", **layers, mynet=net["mynet"] + "# a comment\ndef other(): ...\n") == before
    assert of("mynet.Net.__init__") == before
    assert of("timm.models.resnet.ResNet") != of("timm.models.resnet.BasicBlock")
    assert Code().slice("timm.models.resnet.ResNet") == set()


def test_broken_code_of_a_user_is_named(modules):
    with pytest.raises(code.CamstudyError, match=r"mynet\.py: is not Python"):
        modules(mynet="def f(:\n").digest("mynet.f")


def test_what_was_read_is_kept_for_other_processes(tmp_path, monkeypatch):
    kept = tmp_path / "cache/code.json"
    first = Code(cached=kept)
    expected = {unit: first.digest(root) for unit, root in first.units.items()}
    first.save()
    monkeypatch.setattr(code, "read_module", None)
    again = Code(cached=kept)
    assert {unit: again.digest(root) for unit, root in again.units.items()} == expected
    kept.write_text("{")
    with pytest.raises(TypeError):
        _ = Code(cached=kept).units


# ---- camstudy itself


def test_units_are_what_is_registered():
    registries = {"method": METHODS, "metric": METRICS, "variant": VARIANTS, "table": TABLES, "figure": FIGURES}
    registries |= {"source": SOURCES, "term": TERMS}
    for kind, registry in registries.items():
        assert {unit for unit in code.units() if unit.startswith(f"{kind}:")} == {f"{kind}:{name}" for name in registry}
    for name, method in METHODS.items():
        assert code.units()[f"method:{name}"] == f"{method.function.__module__}:{method.function.__name__}"


def test_every_digest_has_a_revision():
    table, today = code.read_table(), Code()
    unlisted = [unit for unit, root in today.units.items() if today.digest(root) not in table.get(unit, {})]
    assert not unlisted, "run `make revisions` and commit what it writes"
    assert table.keys() == today.units.keys(), "run `make revisions` and commit what it writes"


def test_revisions_are_named_and_unknown_code_is_its_digest(monkeypatch):
    digest = Code().digest(code.units()["method:gradcam"])
    monkeypatch.setattr(code, "_table", lambda: {"method:gradcam": {"0": 1, digest: 3}})
    assert code.revision("method:gradcam") == "gradcam:3"
    monkeypatch.setattr(code, "_table", dict)
    assert code.revision("method:gradcam") == f"gradcam:{digest}"
    assert code.revision("explain") == f"explain:{Code().digest('scripts/explain.py')}"


def test_engines_do_not_know_what_is_registered():
    today = Code()
    engine = today.slice("scripts/explain.py")
    for unit in ("method:gradcam", "method:opti_cam", "variant:dcls", "metric:spearman", "table:dcls"):
        module, name = today.units[unit].split(":")
        assert (module, name) not in engine
    assert not any(module in ("camstudy.models.variants.dcls", "camstudy.explain.methods.cam") for module, _ in engine)
    assert {("camstudy.explain.engine", "explain"), ("camstudy.explain.context", "Context")} <= engine


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Return a function that edits a copy of the code and returns the units whose digest changed."""
    tmp_path = tmp_path_factory.mktemp("code")
    shutil.copytree(code.PACKAGE, tmp_path / "camstudy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(code.PACKAGE.parent / "scripts", tmp_path / "scripts")
    kept = tmp_path / "kept.json"
    original = Code(tmp_path, kept)
    before = {unit: original.digest(root) for unit, root in original.units.items()}
    original.save()

    def edit(name, old, new):
        path = tmp_path / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        now = Code(tmp_path, kept)
        after = {unit: now.digest(root) for unit, root in now.units.items()}
        path.write_text(text)
        return {unit for unit in before.keys() | after.keys() if before.get(unit) != after.get(unit)}

    return edit


CAM = "camstudy/explain/methods/cam.py"
SCORING = "camstudy/metrics/scoring"
COMPARED = {"family:agreement", "family:sweep"}
EXPLAINING = {"explain", "family:sanity", "time_method"}


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        (CAM, "from __future__", "# A comment.\nfrom __future__", set()),
        (CAM, "def _channel_weights(", "def unused(x): return -x\n\n\ndef _channel_weights(", set()),
        (CAM, "Return ReLU(mean_k alpha_k A_k)", "Return what it is", set()),
        (CAM, "gradients.mean((2", "-gradients.mean((2", {"method:gradcam", "method:threshold_gradcam"}),
        (CAM, "+ 1e-7", "- 1e-7", {"method:xgrad_cam"}),
        (CAM, 'source="Fu et al.', 'source="Fu and others', set()),
        (CAM, '"layer_cam", needs="activations_gradients"', '"layer_cam", needs="model"', {"method:layer_cam"}),
        ("camstudy/explain/methods/opticam.py", "u.softmax(1)", "u.softmax(-1)", {"method:opti_cam"}),
        ("camstudy/metrics/agreement.py", "np.mean(rho) / ceil", "np.mean(rho) * ceil", {"metric:alignment"}),
        ("camstudy/metrics/agreement.py", 'label="Spearman"', 'label="Rank"', set()),
        ("camstudy/metrics/prediction.py", "(logits, labels) < 5", "(logits, labels) < 6", {"metric:top5"}),
        (f"{SCORING}/localization.py", "boxes.any(2).sum(1)", "boxes.any(2).sum(-1)", {"family:localization"}),
        (f"{SCORING}/localization.py", 'title="Localization"', 'title="Boxes"', set()),
        (f"{SCORING}/sanity.py", 'protocol["steps"] + 1', 'protocol["steps"] + 2', set()),
        (
            "camstudy/metrics/probing.py",
            "values = maps.flatten(1)",
            "values = -maps.flatten(1)",
            {"family:faithfulness"},
        ),
        ("camstudy/metrics/human.py", "human_half(batch.images)[:, 1]", "human_half(batch.images)[:, 0]", COMPARED),
        ("camstudy/metrics/run.py", "for start in tqdm(", "for start in tqdm(0 or ", {"score"}),
        ("camstudy/tables/__init__.py", 'title="Cost beside', 'title="Costs beside', set()),
        ("camstudy/tables/cost.py", "\n\n\ndef ", "\n\n\ndef unused(): ...\n\n\ndef ", set()),
        (
            "camstudy/explain/engine.py",
            "logits.gather(1, chosen",
            "-logits.gather(1, chosen",
            EXPLAINING | {"check_model"},
        ),
        ("camstudy/explain/explainer.py", "self.inputs, self.device", "self.inputs, 'cpu'", EXPLAINING),
        ("camstudy/explain/run.py", "source.stop)", "source.start)", {"explain"}),
        ("camstudy/explain/run.py", "round((time", "abs((time", {"explain"}),
        ("scripts/explain.py", "wildcards.part, dataset.n)", "wildcards.part, dataset.n + 0)", {"explain"}),
        ("camstudy/data/formats/voc.py", "def read_voc(", "THIS = 1\n\n\ndef read_voc(", set()),
        ("camstudy/models/variants/dcls.py", "_GAUSS_MINIMUM = 0.27", "_GAUSS_MINIMUM = 0.28", {"variant:dcls"}),
        ("camstudy/models/variants/dcls.py", "(1 - distance)", "(2 - distance)", {"term:repulsion"}),
    ],
)
def test_an_edit_changes_what_uses_it_and_nothing_else(changed, name, old, new, expected):
    assert changed(name, old, new) == expected
