"""A study file as it is written: YAML in which every key is there once, and whose places are known by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from camstudy.core.errors import CamstudyError

# Where a value is: keys and list positions from the top of the configuration.
Place = tuple[str | int, ...]

# The compiled loader, where PyYAML has it, is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
MOST = 100_000  # values in a study
_MERGE = "tag:yaml.org,2002:merge"


def load_yaml(path: str | Path) -> Any:
    """Return what a YAML file holds, as it is; `Written` says more of a user's, and of what is wrong with it."""
    return yaml.load(Path(path).read_text(), Loader=_LOADER)


class Written:
    """A YAML file: ``content`` and the line of each of its keys and list items.

    Raises
    ------
    CamstudyError
        for a file that cannot be read or is no YAML, with line and column, for a key that stands twice in a mapping,
        with both lines, and for a file that is no mapping.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.lines: dict[Place, int] = {}
        node = _compose(self.path)
        repeated = list(_repeated(node))
        if repeated:
            raise CamstudyError("; ".join(f"{path}, line {line}: {text}" for line, text in repeated))
        self.content: dict = {} if node is None else _construct(self.path, node)
        if not isinstance(self.content, dict):
            raise CamstudyError(
                f"{path}: holds {type(self.content).__name__}, expected keys with values, as `study: x`"
            )
        if node is not None:
            self._note(node, ())

    def _note(self, node: yaml.Node, place: Place) -> None:
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.tag != _MERGE:
                    inside = (*place, _name(key))
                    self.lines[inside] = key.start_mark.line + 1
                    self._note(value, inside)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self.lines[*place, index] = item.start_mark.line + 1
                self._note(item, (*place, index))

    def find(self, place: Place) -> tuple[int, str]:
        """Return how much of a place the file has, in keys, and where that is: the file and its line."""
        for end in range(len(place), 0, -1):
            if place[:end] in self.lines:
                return end, f"{self.path}, line {self.lines[place[:end]]}"
        return 0, str(self.path)


def locate(files: Iterable[Written], place: Place) -> str:
    """Return where the value at a place was written, or what is around it; the later file where several have it."""
    found = [file.find(place) for file in files]
    depth = max((depth for depth, _ in found), default=0)
    return next((where for its, where in reversed(found) if its == depth), "")


def _compose(path: Path) -> yaml.Node | None:
    try:
        text = path.read_text(encoding="utf-8")
        # Snakemake reads JSON or by the loader in Python, which refuses tabs that the compiled one lets pass.
        slow = "\t" in text and not _is_json(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader if slow else _LOADER)
    except FileNotFoundError:
        raise CamstudyError(f"{path}: no such file in {Path.cwd()}; correct the path") from None
    except IsADirectoryError:
        raise CamstudyError(f"{path}: is a directory; name a study file in it, such as {path}/study.yaml") from None
    except PermissionError:
        raise CamstudyError(f"{path}: may not be read; check its permissions (`ls -l {path}`)") from None
    except OSError as error:
        raise CamstudyError(f"{path}: cannot be read ({error.strerror}); correct the path") from None
    except UnicodeDecodeError as error:
        raise CamstudyError(f"{path}: is no UTF-8 text (byte {error.start}); save it as UTF-8") from None
    except yaml.MarkedYAMLError as error:
        raise CamstudyError(_explain(path, error)) from None
    except yaml.reader.ReaderError as error:
        raise CamstudyError(f"{path}: has a character that YAML does not allow (position {error.position})") from None
    if _count(path, node, {}) > MOST:
        raise CamstudyError(
            f"{path}: holds more than {MOST:,} values, as `*` repeats what `&` names; write out what is meant"
        )
    return node


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _count(path: Path, node: yaml.Node | None, counts: dict[int, int | None]) -> int:
    """Return how many values there are once all aliases are written out; those that hold themselves are refused."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in counts:
        counts[id(node)] = None
        pairs = isinstance(node, yaml.MappingNode)
        parts = [part for pair in node.value for part in pair] if pairs else node.value
        counts[id(node)] = 1 + sum(_count(path, part, counts) for part in parts)
    count = counts[id(node)]
    if count is None:
        line = node.start_mark.line + 1
        raise CamstudyError(f"{path}, line {line}: what `&` names here holds itself, by `*`; write out what is meant")
    return count


def _name(key: yaml.Node) -> str:
    """Return a key as the configuration has it, which is text: `no` has become `False`."""
    if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:str":
        return key.value
    loader = yaml.SafeLoader("")
    try:
        return str(loader.construct_object(key))
    finally:
        loader.dispose()


def _explain(path: Path, error: yaml.MarkedYAMLError) -> str:
    """Say where YAML cannot be read, and why, with the usual cause where it can be told."""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return f"{path}: is no YAML ({error.problem})"
    lines = path.read_text(encoding="utf-8").splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    hint = ""
    if "\t" in line[: len(line) - len(line.lstrip())] or "\\t" in str(error.problem):
        hint = "; YAML is indented by spaces, and here is a tab"
    elif error.context_mark and error.context_mark.line != mark.line:
        hint = f"; what is open there begins in line {error.context_mark.line + 1}"
    shown = f": `{line.strip()}`" if line.strip() else ""
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}: {error.problem}{hint}{shown}"


def _repeated(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Yield line and text for every key that stands a second time in its mapping."""
    if isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in first:
                    text = f"the key `{key.value}` stands in line {first[key.value]}, too"
                    yield line, f"{text}, and the second would replace the first; put them together"
                first.setdefault(key.value, line)
            yield from _repeated(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item)


def _construct(path: Path, node: yaml.Node) -> Any:
    loader = _LOADER("")
    try:
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise CamstudyError(_explain(path, error)) from None
    finally:
        loader.dispose()


class Places:
    """Where the values of a configuration were written: in files, which are read when that is asked, or elsewhere."""

    def __init__(self, config: Mapping, files: Iterable[str | Path]) -> None:
        self._config, self._paths = config, [*files]

    @cached_property
    def _files(self) -> list[Written]:
        return [Written(path) for path in self._paths]

    def __call__(self, place: Place) -> str:
        """Return file and line, or what is around the value; `--config` where no file has it."""
        stated = _at(self._config, place)
        for file in reversed(self._files):
            inside = (*self._above(file), *place)
            if inside in file.lines:
                found = _at(file.content, inside)
                # What is no number equals nothing, itself included.
                same = found == stated or (found != found and stated != stated)
                return file.find(inside)[1] if same else "--config"
        return locate(self._files, place) if stated is None else "--config"

    def _above(self, file: Written) -> Place:
        """Return the key below which a file has the study, where this workflow is a module of another."""
        if "study" in file.content or "study" not in self._config:
            return ()
        parts = ((key, part) for key, part in file.content.items() if isinstance(part, Mapping))
        return next(((key,) for key, part in parts if part.get("study") == self._config["study"]), ())


def _at(value: object, place: Place) -> object:
    for key in place:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value
