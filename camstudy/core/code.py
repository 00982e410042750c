"""Which code decides a result: a digest of all definitions that a thing uses, and the revision that it belongs to.

Definitions are followed from a root through the names that they use, in the modules of camstudy and in those of users,
but not into the standard library and installed packages, of which the dotted names count. What is reached by a name in
a registry (methods, metrics, tables ...) is no part of what looks it up, but a unit of its own. ``make revisions``
keeps `revisions.json`.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path

from camstudy.core.errors import CamstudyError
from camstudy.core.plugins import INSTALLED, loaded
from camstudy.core.syntax import Definition, Module, read_module

PACKAGE = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("revisions.json")
FORMAT = 1  # of the cache: another number for another content of `Module` or other digests

# Registries by kind: everywhere in camstudy, ``@METHODS.register("gradcam")`` makes a unit ``method:gradcam``.
REGISTRIES = {
    "method": "METHODS",
    "metric": "METRICS",
    "family": "FAMILIES",
    "variant": "VARIANTS",
    "table": "TABLES",
    "figure": "FIGURES",
    "source": "SOURCES",
    "term": "TERMS",
}
# Scripts that make no result of a study.
TOOLS = {"plan", "records", "export_demo_weights"}


class Code:
    """The code below a directory that holds the package camstudy; other modules are found as Python finds them.

    A root is ``module:name`` for a top-level definition, ``module`` for all of a module, or the path of a script.
    ``own`` are the names of modules elsewhere that register something, too.
    """

    def __init__(self, base: Path = PACKAGE.parent, cached: Path | None = None, own: tuple[str, ...] = ()) -> None:
        self._base, self._cached, self._own = base, cached, own
        self._modules: dict[str, Module | None] = {}
        self._digests: dict[str, str] = {}
        self._changed = False

    @cached_property
    def units(self) -> dict[str, str]:
        """The roots of all that has a revision, see `units`."""
        kinds = {registry: kind for kind, registry in REGISTRIES.items()}
        found = {}
        paths = (path.relative_to(self._base) for path in sorted((self._base / PACKAGE.name).rglob("*.py")))
        modules = (".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths)
        for module in [*modules, *self._own]:
            known = self._module(module) or Module()
            for registered, definition in known.registered.items():
                registry, _, name = registered.partition(":")
                if registry in kinds:
                    found[f"{kinds[registry]}:{name}"] = f"{module}:{definition}"
        scripts = (path.stem for path in sorted((self._base / "scripts").glob("*.py")))
        return found | {name: f"scripts/{name}.py" for name in scripts if name not in TOOLS}

    def digest(self, root: str) -> str:
        """Return 16 hex digits for the code that ``root`` uses; of what is installed, its name alone counts."""
        if root not in self._digests:
            lines = [self._line(*key) for key in self.slice(root)]
            text = "\n".join(sorted(lines) or [root])
            self._digests[root] = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._digests[root]

    def slice(self, root: str) -> set[tuple[str, str]]:
        """Return the definitions that ``root`` uses, itself among them, as (module, name).

        What a module does besides, as it is imported, has the name "".
        """
        module, _, name = root.partition(":")
        pending = [*self._follow(module, name.split(".") if name else [])]
        found: set[tuple[str, str]] = set()
        while pending:
            key = pending.pop()
            if key not in found:
                found.add(key)
                pending += self._used(*key)
        return found

    def _line(self, module: str, name: str) -> str:
        definition = self._definition(module, name)
        uses = sorted({f"{alias}={target}" for alias, target, _ in definition.uses})
        return f"{module}:{name} {definition.digest} {' '.join(uses)}"

    def _definition(self, module: str, name: str) -> Definition:
        known = self._module(module) or Module()
        definition = known.definitions[name] if name else known.effects
        assert definition  # as nothing else is followed
        return definition

    def _used(self, module: str, name: str) -> Iterator[tuple[str, str]]:
        """Yield what a definition uses, and what its module and the packages around do as they are imported."""
        for alias, target, attributes in self._definition(module, name).uses:
            if target:
                yield from self._follow(self._absolute(module, target), attributes.split(".") if attributes else [])
            else:
                yield module, alias
        for around in [module] if module.endswith(".py") else _prefixes(module):
            known = self._module(around)
            if known and known.effects:
                yield around, ""
            for star in known.stars if known else ():
                yield from self._follow(self._absolute(around, star), [])

    def _follow(
        self, module: str, names: list[str], trail: tuple[tuple[str, ...], ...] = ()
    ) -> Iterator[tuple[str, str]]:
        """Yield the definition that a dotted path leads to; of a module, all; of what is installed, nothing.

        ``trail`` are the paths that led here, as modules may import each other.
        """
        known, step = self._module(module), (module, *names)
        if step in trail:
            return
        trail = (*trail, step)
        if known is None:
            # A name in a module, or a module in a package.
            head, _, last = module.rpartition(".")
            if any(map(self._module, _prefixes(head))):
                yield from self._follow(head, [last, *names], trail)
            return
        if known.effects:
            yield module, ""
        if not names:
            yield from ((module, name) for name in known.definitions)
            return
        name, *rest = names
        if name in known.definitions:
            yield module, name
        if name in known.imports:
            yield from self._follow(self._absolute(module, known.imports[name]), rest, trail)
        elif name in known.definitions:
            return
        elif self._module(f"{module}.{name}"):
            yield from self._follow(f"{module}.{name}", rest, trail)
        elif known.stars:
            for star in known.stars:
                yield from self._follow(self._absolute(module, star), names, trail)
        else:
            # Made by what cannot be read, such as `__getattr__`.
            yield from self._follow(module, [], trail)

    def _absolute(self, module: str, target: str) -> str:
        """Return the dotted path of what a module imports, which may be relative to it."""
        name = target.lstrip(".")
        level = len(target) - len(name)
        if not level:
            return target
        package = module.split(".")
        file = self._file(module)
        up = level - 1 if file and file.name == "__init__.py" else level
        return ".".join([*package[: len(package) - up], name])

    def _module(self, name: str) -> Module | None:
        """Return what a module of camstudy or of the user's defines; None for any other."""
        if name not in self._modules:
            path = self._file(name)
            self._modules[name] = self._read(path) if path else None
        return self._modules[name]

    def _read(self, path: Path) -> Module:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        kept = self._cache.get(str(path))
        if kept is None or kept[0] != digest:
            try:
                kept = [digest, read_module(content.decode(), str(path)).to_json()]
            except (SyntaxError, UnicodeDecodeError) as error:
                raise CamstudyError(f"{path}: is not Python that can be read ({error}); mend it") from None
            self._cache[str(path)] = kept
            self._changed = True
        return Module.from_json(kept[1])

    def _file(self, name: str) -> Path | None:
        """Return the file of a script or a module; None where there is none to be followed."""
        if name.endswith(".py"):
            return self._base / name
        parts = name.split(".")
        for folder in [self._base] if parts[0] == PACKAGE.name else _folders(parts[0]):
            path = Path(folder, *parts)
            for candidate in (path / "__init__.py", path.with_suffix(".py")):
                if candidate.is_file():
                    return candidate
        return None

    @cached_property
    def _cache(self) -> dict[str, list]:
        with suppress(OSError, ValueError, LookupError, TypeError):
            kept = json.loads(self._cached.read_text()) if self._cached else {}
            return kept["files"] if kept["format"] == FORMAT else {}
        return {}

    def save(self) -> None:
        """Keep what was read for other processes, in one step; without a place to write, they read it themselves."""
        if self._cached and self._changed:
            with suppress(OSError):
                self._cached.parent.mkdir(parents=True, exist_ok=True)
                temporary = self._cached.with_name(f".{self._cached.name}.{os.getpid()}.tmp")
                temporary.write_text(json.dumps({"format": FORMAT, "files": self._cache}))
                temporary.replace(self._cached)


def own_digest(path: str) -> str:
    """Return 16 hex digits for the code that a dotted path such as ``mynet.Net`` uses, in modules of one's own.

    Nothing for what is installed, of which the path alone tells.
    """
    code = _today()
    return code.digest(path) if code.slice(path) else ""


def revision(unit: str) -> str:
    """Return ``name:number`` for a unit, one of `units`, whose code is of a known revision, else ``name:digest``."""
    code = _today()
    if unit not in code.units:
        kind, _, name = unit.partition(":")
        raise CamstudyError(
            f"{kind} `{name}` of a plugin: its code is found by the decorator; write "
            f'`@{REGISTRIES.get(kind, kind)}.register("{name}", ...)` with the name itself above the function'
        )
    digest = code.digest(code.units[unit])
    return f"{unit.rpartition(':')[2]}:{_table().get(unit, {}).get(digest, digest)}"


def units() -> dict[str, str]:
    """Return all that has a revision, with its root: registered things as ``method:gradcam``, scripts by their name."""
    return _today().units


def read_table(path: Path = TABLE) -> dict[str, dict[str, int]]:
    """Return the revision of each digest, by unit."""
    return json.loads(path.read_text()) if path.exists() else {}


@cache
def _table() -> dict[str, dict[str, int]]:
    return read_table()


def _today() -> Code:
    return _code_of(tuple(loaded()))


@cache
def _code_of(own: tuple[str, ...]) -> Code:
    """Return the code as it is now, that of plugins, too.

    What was read is kept in the user's cache, as reading takes a third of a second.
    """
    kept = None
    with suppress(RuntimeError):  # no home directory
        place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", PACKAGE.name)
        kept = place / f"code-{hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:16]}.json"
    code = Code(cached=kept, own=own)
    atexit.register(code.save)
    return code


@cache
def _folders(package: str) -> list[Path]:
    """Return where a top-level package lies; nothing for what is built in or installed."""
    if package in sys.stdlib_module_names:
        return []
    spec = None
    with suppress(ImportError, ValueError, AttributeError):
        spec = find_spec(package)
    if spec is None:
        return []
    places = spec.submodule_search_locations or ([spec.origin] if spec.origin else [])
    return [Path(place).parent for place in places if not INSTALLED & set(Path(place).parts)]


def _prefixes(path: str) -> list[str]:
    """Return a dotted path and the packages around it, the innermost first."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
