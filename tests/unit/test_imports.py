"""Imports run one way: each package uses those before it, and what plans a study needs no torch."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import camstudy

PACKAGE = Path(camstudy.__file__).parent
# Each may use what stands before it. Tables and figures stand side by side.
LAYERS = ("core", "data", "models", "training", "explain", "metrics", "analysis", "tables figures", "study", "pipeline")
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names.split()}


@cache
def modules():
    """Return the file of every module by its name."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): file
        for file in files
    }


def imported(module):
    """Return the modules of camstudy that a module imports, those within functions and for types among them."""
    found = set()
    for node in ast.walk(ast.parse(modules()[module].read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == PACKAGE.name:
            paths = {f"{node.module}.{name.name}" for name in node.names}
            found |= {path if path in modules() else node.module for path in paths}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names if name.name in modules()}
    return found


def room(module):
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", [name for name in modules() if "." in name])
def test_modules_import_from_earlier_rooms_alone(module):
    outside = {other for other in imported(module) if room(other) and room(other) != room(module)}
    wrong = {other for other in outside if LEVEL[room(other)] >= LEVEL[room(module)]}
    assert not wrong


def test_no_module_imports_itself_in_the_end():
    finished, path = set(), []

    def visit(module):
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module not in finished:
            path.append(module)
            for other in imported(module):
                visit(other)
            finished.add(path.pop())

    for module in modules():
        visit(module)


@pytest.mark.parametrize("room_", ["core", "study", "pipeline"])
def test_planning_needs_no_torch(room_):
    # The subclass of Snakemake's own notes is imported by the head alone.
    names = [name for name in modules() if room(name) == room_]
    heavy = ("torch", "timm", "matplotlib")
    code = f"import sys, {', '.join(names)}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"import snakemake.api; {code}"], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
