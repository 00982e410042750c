"""What runs is what digests are of: every function of camstudy that a step calls is in the code of its units."""

import ast
import sys
import threading
from functools import cache
from pathlib import Path

import pytest
import yaml

from camstudy.core.code import PACKAGE, Code
from camstudy.metrics.families import METRICS
from tests.golden import cases, study

CODE = Code()
CATALOG = yaml.safe_load(Path(study.__file__).with_name("study.yaml").read_text())["catalog"]
FAMILIES = study.families()


class Calls:
    """The functions of camstudy that are called while something runs, without those of imports."""

    def __init__(self):
        self.found = set()

    def watch(self, work):
        """Call ``work``; what it calls is in ``found``, as (file, line)."""
        self.found, seen = set(), set()

        def note(frame, event, _argument):
            code = frame.f_code
            if event != "call" or code in seen:
                return
            if not code.co_filename.startswith(str(PACKAGE)):
                seen.add(code)
            elif not any(is_import(outer) for outer in outwards(frame)):
                seen.add(code)
                self.found.add((code.co_filename, code.co_firstlineno))

        threading.setprofile(note)
        sys.setprofile(note)
        try:
            return work()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def missing(self, units):
        """Return the functions found that are in the code of none of the units, as module:name."""
        known = set().union(*map(sliced, units))
        called = [definitions(file, line) for file, line in self.found]
        return sorted({f"{keys[0][0]}:{keys[0][1]}" for keys in called if not known.intersection(keys)})


def outwards(frame):
    while frame:
        yield frame
        frame = frame.f_back


def is_import(frame):
    return frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(str(PACKAGE))


@cache
def sliced(unit):
    return CODE.slice(CODE.units[unit])


@cache
def statements(file):
    """Return first and last line of every top-level statement of a file, and the names that it defines."""
    found = []
    for statement in ast.parse(Path(file).read_text()).body:
        first = min([statement.lineno, *(one.lineno for one in getattr(statement, "decorator_list", []))])
        loaded = [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
        names = [statement.name] if hasattr(statement, "name") else [*loaded, ""]
        found.append((first, statement.end_lineno, names))
    return found


def definitions(file, line):
    """Return the definitions that a line is part of, as (module, name)."""
    module = ".".join(Path(file).relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    (names,) = [names for first, last, names in statements(file) if first <= line <= last]
    return [(module, name) for name in names]


def units(step):
    """Return the units whose code a step may run: its script, and what its wildcards name."""
    names = step.wildcards
    found = [step.script]
    if "method" in names and step.script in ("explain", "explain_control", "score", "time_method"):
        method = names["method"].partition("_stage")[0]
        found.append(f"method:{method}")
    if CATALOG["models"].get(names.get("model"), {}).get("variant"):
        found.append("variant:dcls")
    # A check asks what the terms of the recipe demand, which decides no result.
    if step.script in ("train", "check_model"):
        found += [unit for unit in CODE.units if unit.startswith("term:")]
    family = FAMILIES[names["protocol"]] if step.script == "score" else step.script
    found += [f"metric:{metric.name}" for metric in METRICS.values() if metric.family == family]
    if step.script == "score":
        found.append(f"family:{family}")
    if step.script.startswith("prepare_"):
        found.append(f"source:{CATALOG['datasets'][names['dataset']]['source']}")
    # Where archives are, the sources say, and the identity of one has its own address.
    if step.script == "fetch_archive":
        found += [unit for unit in CODE.units if unit.startswith("source:")]
    return found + [f"{kind}:{names[kind]}" for kind in ("table", "figure") if kind in names]


# What refuses values of parameters changes none.
CHECKS = {f"camstudy.explain.parameters:{name}" for name in ("above", "allowed", "at_least", "odd", "one_of")}


def test_steps_of_the_workflow_run_the_code_of_their_units(tmp_path):
    calls, missing, ran = Calls(), {}, set()
    for step in study.run(tmp_path, figures=True, watched=calls.watch):
        assert calls.found, step
        ran.add(step.script)
        if step.script in ("explain", "score"):
            # The engine alone knows no method, and no family of metrics.
            assert calls.missing([step.script])
        if lost := {*calls.missing(units(step))} - CHECKS:
            missing[step.script, *step.wildcards.values()] = lost
    assert not missing
    # Steps that the study in miniature does not have: it has no seeds and no layers scored so, and its files do not
    # change.
    beside = {f"aggregate_{what}" for what in ("layer_scores", "redrawn", "seeds", "similarity")}
    beside.add("prepare_fixations")
    assert ran == {unit for unit in CODE.units if ":" not in unit} - beside


@pytest.mark.parametrize("unit", [unit for unit in CODE.units if unit.partition(":")[0] in cases.CASES])
def test_registered_things_run_their_own_code(unit):
    kind, _, name = unit.partition(":")
    calls = Calls()
    assert calls.watch(lambda: cases.CASES[kind](name))
    # The case looks it up. Methods are called with what the engine makes.
    engine = ["explain", "explain_control"] if kind == "method" else []
    registries = {"camstudy.core.registry:Registry", "camstudy.core.registry:ModuleRegistry"}
    # A term is tried on a network with a variant, and so is the method of one.
    used = ["variant:dcls"] if kind == "term" else ["variant:castream"] if name == "raw_attention" else []
    # What a term demands, the case asks of its record.
    records = {"camstudy.training.terms:Term"} if kind == "term" else set()
    assert set(calls.missing([unit, *engine, *used])) <= registries | records
    assert set(calls.missing(engine)) & {f"{module}:{name}" for module, name in sliced(unit)}
