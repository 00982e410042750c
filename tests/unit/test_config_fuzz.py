"""Whatever a configuration says, `validate` takes it or names its mistakes: thousands of damaged ones."""

import copy
import random
import re

import pytest
import yaml
from conftest import ROOT
from test_config import STUDY

from camstudy.core.errors import CamstudyError
from camstudy.explain.methods import METHODS, bind
from camstudy.study.checks import validate

pytestmark = pytest.mark.slow

JUNK = [
    *(None, True, 0, -1, 3, 1e300, float("nan"), float("inf"), "", "gradcam", "net", "a/b", "../x", "é\n", "{i}"),
    *([], [None], ["net", "net"], [[1]], {}, {"": 1}, {1: 2}, {"method": "gradcam"}, {"dcls": {}}),
]
SHIPPED = [ROOT / "config/config.yaml", *sorted((ROOT / "config/studies").glob("*.yaml"))]


def places(value):
    """Yield everything within a configuration, each as what holds it and its key there."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from places(value[key])


def damage(config, rng):
    """Replace, drop, add or move something."""
    everywhere = list(places(config))
    part, last = rng.choice(everywhere)
    kind = rng.choice(["replace", "replace", "drop", "add", "move"])
    if kind == "drop":
        del part[last]
    elif kind == "add" and isinstance(part, dict):
        part[rng.choice(["titel", 3, None, "method", "weights"])] = copy.deepcopy(rng.choice(JUNK))
    elif kind == "move":
        other, key = rng.choice(everywhere)
        part[last] = copy.deepcopy(other[key])
    else:
        part[last] = copy.deepcopy(rng.choice(JUNK))


def known():
    found = {"bind": bind, "methods": [], "controls": []}
    for method in METHODS.values():
        found["controls" if method.needs == "dataset" else "methods"].append(method.name)
    return found


@pytest.mark.parametrize("file", [None, *SHIPPED], ids=lambda file: file.stem if file else "small")
def test_damaged_configurations_are_told(file):
    config = yaml.safe_load(STUDY)
    catalogs = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "config/catalog").glob("*.yaml"))]
    config["catalog"]["protocols"] |= next(c["catalog"]["protocols"] for c in catalogs if "protocols" in c["catalog"])
    if file:
        config = {"catalog": {}} | yaml.safe_load(file.read_text())
        for kind in ("datasets", "models", "methods", "protocols"):
            for catalog in catalogs:
                config["catalog"].setdefault(kind, {}).update(catalog["catalog"].get(kind, {}))
    rng, taken = random.Random(0), 0
    for _ in range(2000 if file is None else 300):
        damaged = copy.deepcopy(config)
        for _ in range(rng.randint(1, 3)):
            damage(damaged, rng)
        try:
            validate(damaged, known(), check_files=False)
        except CamstudyError as error:
            first, *lines = str(error).split("\n  ")
            assert re.fullmatch(r"the configuration has \d+ errors?:", first)
            assert lines
        else:
            taken += 1
    assert taken, "nothing was taken: the undamaged is wrong"
