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
LAYERS = (
    *("core", "data", "models", "training", "explain", "metrics", "analysis", "tables figures", "study", "pipeline"),
    "report",
)
# The command and the interface for notebooks may use all.
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names.split()}


# Of a file, and of a function without its docstring.
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


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


@pytest.mark.parametrize("module", [name for name in modules() if room(name) in LEVEL])
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


def lengths():
    """Return the lines of every file of the package, the scripts and the workflow, and of their functions."""
    files, functions = {}, {}
    for folder in ("camstudy", "scripts", "workflow"):
        for path in sorted((PACKAGE.parent / folder).rglob("*")):
            if path.suffix not in (".py", ".smk"):
                continue
            text, name = path.read_text(), path.relative_to(PACKAGE.parent).as_posix()
            files[name] = len(text.splitlines())
            for node in ast.walk(ast.parse(text)) if path.suffix == ".py" else ():
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    said = node.body[0]
                    docstring = said.end_lineno - said.lineno + 1 if ast.get_docstring(node) is not None else 0
                    lines = node.end_lineno - node.lineno + 1 - docstring
                    functions[f"{name}, line {node.lineno}: {node.name}"] = lines
    return files, functions


def test_no_file_or_function_holds_two_ideas():
    files, functions = lengths()
    assert {name: n for name, n in files.items() if n > LONGEST_FILE} == {}
    assert {name: n for name, n in functions.items() if n > LONGEST_FUNCTION} == {}
    assert len(functions) > len(files) > 100
