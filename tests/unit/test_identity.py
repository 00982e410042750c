"""Identities: which keys of an entry count, what a line says, and the list of values that stand for no key."""

import json

import pytest

from camstudy.core import identity
from camstudy.core.identity import agrees, canonical, changed, digest, introduced, line, parts, view
from camstudy.pipeline.introduced import defaults

# Keys whose default is no longer the value that they were introduced with. An entry here is a decision.
CHANGED: dict[str, set[str]] = {"dataset clickme": {"human_ceiling", "human_maps"}}


def test_a_line_is_sorted_without_what_is_empty():
    assert line(model="b", code="a:1,c:2", content="", layer=None) == "code=a:1,c:2 model=b"
    assert parts("code=a:1,c:2 model=b") == {"code": "a:1,c:2", "model": "b"}


@pytest.mark.parametrize("value", ["two words", "a=b", "two\nlines"])
def test_a_part_cannot_be_mistaken_for_two(value):
    with pytest.raises(ValueError, match="part model"):
        line(model=value)


def test_a_record_may_say_more_than_is_planned():
    assert agrees("code=a model=b weights=c", "code=a model=b")
    assert not agrees("code=a model=b", "code=a model=b weights=c")
    assert not agrees("code=a model=x", "code=a model=b")
    assert changed("code=a model=x", "code=a layer=y model=b") == ["layer", "model"]


def test_whole_numbers_are_one_number():
    assert canonical({"b": 1.0, "a": [2, 0.5]}) == canonical({"a": [2.0, 0.5], "b": 1}) == '{"a":[2,0.5],"b":1}'
    assert canonical(True) != canonical(1)
    assert digest({"a": 1}) == digest({"a": 1.0}) != digest({"a": "1"})


def test_digests_are_the_same_everywhere():
    # The first 16 digits of the sha256 of {"a":1}, made with sha256sum.
    assert digest({"a": 1}) == "015abd7f5cc57a2d"


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """A list of introduced values of its own."""
    values = {"model": {"kwargs": {}, "train": None, "train.augment": {}, "train.augment.flip": 0.5, "train.gpu": 1}}
    path = tmp_path / "introduced.json"
    path.write_text(json.dumps(values))
    monkeypatch.setattr(identity, "INTRODUCED", path)
    introduced.cache_clear()
    yield
    introduced.cache_clear()


def test_keys_at_their_introduced_value_are_left_out_at_every_depth(listed):
    plain = {"arch": "net", "title": "Net"}
    written = plain | {"kwargs": {}, "train": None}
    assert view(plain, ("arch", "kwargs", "train"), "model") == view(written, ("arch", "kwargs", "train"), "model")
    recipe = {"train": {"epochs": 3, "gpu": 1, "augment": {"flip": 0.5}}}
    assert view(recipe, ("train",), "model") == {"train": {"epochs": 3}}
    recipe["train"]["augment"]["flip"] = 0
    assert view(recipe, ("train",), "model") == {"train": {"epochs": 3, "augment": {"flip": 0}}}


def test_a_key_that_is_not_listed_counts(listed):
    assert view({"kwargs": {"depth": 3, "gpu": 1}}, ("kwargs",), "model") == {"kwargs": {"depth": 3, "gpu": 1}}


def test_every_optional_key_is_listed_with_the_value_that_it_began_with():
    """`python -m camstudy.pipeline.introduced` lists a new key. A default that changes stays listed as it was."""
    for kind, values in defaults().items():
        known = introduced(kind)
        assert values.keys() <= known.keys(), f"run `python -m camstudy.pipeline.introduced` for {kind}"
        for key, value in values.items():
            value = list(value) if isinstance(value, tuple) else value
            assert known[key] == value or key in CHANGED.get(kind, ()), (
                f"{kind}: `{key}` was introduced with {known[key]}"
            )


def test_the_list_itself_does_not_change():
    """Of what was listed first; new kinds and keys are no part of it."""
    first = {
        "model": ("num_classes", "train.label_smoothing", "variant.dcls.kernel_count", "weights"),
        "method": ("target", "geometry", "stage"),
        "parameters opti_cam": ("iterations", "learning_rate", "objective"),
        "dataset digits": ("n_images", "seed"),
        "protocol faithfulness": ("step", "blur", "normalize"),
    }
    found = {kind: {key: introduced(kind)[key] for key in keys} for kind, keys in first.items()}
    assert found == {
        "model": {
            "num_classes": 1000,
            "train.label_smoothing": 0.1,
            "variant.dcls.kernel_count": 34,
            "weights": "random",
        },
        "method": {"target": "label", "geometry": "aligned", "stage": None},
        "parameters opti_cam": {"iterations": 50, "learning_rate": 0.1, "objective": "logit"},
        "dataset digits": {"n_images": 384, "seed": 0},
        "protocol faithfulness": {"step": 1792, "blur": 11, "normalize": "resized"},
    }
