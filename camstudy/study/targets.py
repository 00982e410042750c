"""The class that controls are tried on: that which is explained by the methods that they are compared with.

A control looks at no class, but how faithful its map is to a network is asked about one. An entry says which, `target`,
and its scores are shared by all studies, so that the same control on another class is an entry of another name:
`random` and `random_predicted`. Maps that explain nothing but are stored by model, such as Fake-CAM's
(`ranked: false`), are treated alike.
"""

import copy
import difflib
import re
from collections.abc import Iterator, Mapping

from camstudy.core.errors import unknown
from camstudy.study.protocols import chosen
from camstudy.study.written import Place

WORDS = {
    "label": "label",
    "predicted": "predicted class",
    "second": "second class",
    "other": "strongest other class",
    "embedding": "label's mean embedding",
}


def match_controls(config: dict) -> None:
    """Give a study its controls on the classes that its methods explain, in place; entries that lack are made.

    Only faithfulness asks about a class; other studies stay as they are, and so do controls whose target is right.
    """
    methods, wanted = config["catalog"]["methods"], _targets(config)
    for key, name, matched in _matched(config, wanted):
        position = config[key].index(name)
        config[key][position : position + 1] = [
            new for new in matched.values() if new not in config[key] or new == name
        ]
        base = methods[_base(methods, name)]
        for target, new in matched.items():
            title = base["title"] if len(wanted) == 1 else f"{base['title']} ({in_words(target)})"
            methods.setdefault(new, copy.deepcopy(base) | {"title": title, "target": target})


def check_controls(config: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield place and mistake where the catalogue has another entry under the name of a control on another class."""
    methods = config["catalog"]["methods"]
    for _, name, matched in _matched(config, _targets(config)):
        for target, new in matched.items():
            found = methods.get(new)
            if found and (found["method"], found["target"]) != (methods[name]["method"], target):
                text = f"this is the name of `{_base(methods, name)}` on the {in_words(target)}, which the methods"
                yield ("catalog", "methods", new), f"{text} explain; rename the entry"


def in_words(target: str | int) -> str:
    """Return what a table says of the class that a method explains."""
    return WORDS.get(str(target), f"class {target}")


def check_targets(config: Mapping) -> Iterator[tuple[Place, str]]:
    """Yield place and mistake where a method of the study explains a class that its dataset does not have."""
    entry = config["catalog"]["datasets"].get(config["dataset"], {})
    names, count = entry.get("class_names"), entry.get("num_classes")
    for method in (*config["methods"], *config["controls"]):
        target = config["catalog"]["methods"].get(method, {}).get("target", "label")
        place = ("catalog", "methods", method, "target")
        if isinstance(target, int) and count and not 0 <= target < count:
            yield place, f"found {target}, but `{config['dataset']}` has the classes 0 to {count - 1}"
        if isinstance(target, str) and target not in WORDS:
            near = difflib.get_close_matches(target, WORDS, cutoff=0.8)
            if target not in names if names else near:
                yield place, str(unknown("target", target, [*WORDS, *(names or ())]))


def _slug(target: str | int) -> str:
    return re.sub(r"\W+", "_", str(target))


def _targets(config: Mapping) -> list[str]:
    """Return the classes that the study's methods explain; nothing where no map is tried on one."""
    if "faithfulness" not in chosen(config):
        return []
    entries = [config["catalog"]["methods"][name] for name in config["methods"]]
    return list(dict.fromkeys(entry["target"] for entry in entries if entry["ranked"]))


def _matched(config: Mapping, wanted: list[str]) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield key and name of each control, and of what it becomes the names by target; not of those that are right."""
    methods = config["catalog"]["methods"]
    listed = [("controls", name) for name in config["controls"]]
    listed += [("methods", name) for name in config["methods"] if not methods[name]["ranked"]]
    for key, name in listed:
        base = _base(methods, name)
        matched = {
            target: base if methods[base]["target"] == target else f"{base}_{_slug(target)}" for target in wanted
        }
        if wanted and not set(matched.values()) <= set(config[key]):
            yield key, name, matched


def _base(methods: Mapping[str, Mapping], name: str) -> str:
    """Return which entry a control on another class is made of; one that is not made of any is its own."""
    base = name.removesuffix(f"_{_slug(methods[name]['target'])}")
    same = base in methods and all(methods[base][key] == methods[name][key] for key in ("method", "parameters"))
    return base if same else name
