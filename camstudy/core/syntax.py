"""What a Python file defines: a digest of each top-level definition, and the names that it uses, without running it.

The digest is of the syntax tree in a text of our own, as that of `ast.dump` differs between versions of Python.
Docstrings, comments, layout and annotations are left out, but for those of fields in classes, which dataclasses are
made of.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

# Facts of registered things that are printed, and change no result.
DOCUMENTARY = {
    "label",
    "source",
    "direction",
    "unit",
    "range",
    "title",
    "metrics",
    "images",
    "layout",
    "divided",
    "passes",
}

_SKIPPED = {"ctx", "type_comment", "type_params", "kind", "returns"}
_Comprehension = ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPOUND = (ast.If, ast.Try, ast.TryStar, ast.With, ast.For, ast.While, ast.Match)


@dataclass
class Definition:
    """Digest of a definition, and the names of its module that it uses: name, what it imports, attributes.

    What is imported is a dotted path, relative ones with their dots; it is empty for names that the module itself
    defines. ``spectral.envelope(x)`` after ``from sound import spectral`` is ``["spectral", "sound.spectral",
    "envelope"]``.
    """

    digest: str
    uses: list[list[str]]


@dataclass
class Module:
    """What a file defines and imports by name, the modules whose names it imports all, and what it does besides.

    ``registered`` has the names of definitions that a decorator ``@REGISTRY.register("name")`` registers, by
    ``REGISTRY:name``.
    """

    definitions: dict[str, Definition] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)
    registered: dict[str, str] = field(default_factory=dict)
    effects: Definition | None = None

    def to_json(self) -> dict:
        """Return plain values, from which `from_json` makes the same."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict) -> Module:
        """Return what `to_json` was called on."""
        effects = values["effects"]
        definitions = {name: Definition(**one) for name, one in values["definitions"].items()}
        return cls(**values | {"definitions": definitions, "effects": effects and Definition(**effects)})


def read_module(text: str, where: str = "<text>") -> Module:
    """Return what a file with this text defines; SyntaxError if it is not Python, with ``where`` in its message."""
    module = Module()
    defining: dict[str, list[ast.stmt]] = {}
    effects: list[ast.stmt] = []
    for statement in _statements(ast.parse(text, where).body):
        for part in ast.walk(statement) if isinstance(statement, _COMPOUND) else [statement]:
            if isinstance(part, ast.ImportFrom):
                module.stars += [_target(part, "").rstrip(".") for alias in part.names if alias.name == "*"]
            if isinstance(part, ast.Import | ast.ImportFrom):
                module.imports |= dict(_imported(part))
        for name in dict.fromkeys(_bound(statement)):
            defining.setdefault(name, []).append(statement)
        module.registered |= dict(_registered(statement))
        if _acts(statement):
            effects.append(statement)
    for name, statements in defining.items():
        module.definitions[name] = _read(statements, module, defining)
    if effects:
        module.effects = _read(effects, module, defining)
    return module


def _read(statements: list[ast.stmt], module: Module, defining: dict) -> Definition:
    reader = _Reader()
    for statement in statements:
        reader.visit(statement, reader.top)
    uses = {(name, target, attributes) for name, target, attributes in reader.top.loads if target}
    for name, target, attributes in reader.top.loads:
        if not target and name in module.imports:
            uses.add((name, module.imports[name], attributes))
        if not target and name in defining:
            uses.add((name, "", ""))
    return Definition(hashlib.sha256("".join(reader.out).encode()).hexdigest()[:16], sorted(map(list, uses)))


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield statements but for texts that stand alone, and what only type checkers see."""
    for statement in body:
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in (
            getattr(statement.test, "id", ""),
            getattr(statement.test, "attr", ""),
        ):
            yield from _statements(statement.orelse)
        elif not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
            yield statement


def _target(statement: ast.ImportFrom, name: str) -> str:
    return f"{'.' * statement.level}{statement.module or ''}{'.' if statement.module else ''}{name}"


def _imported(statement: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Yield the names that an import binds, each with the dotted path of what it is bound to."""
    for alias in statement.names:
        if isinstance(statement, ast.ImportFrom):
            if alias.name != "*":
                yield alias.asname or alias.name, _target(statement, alias.name)
        elif alias.asname:
            yield alias.asname, alias.name
        else:
            yield (alias.name.partition(".")[0],) * 2


def _bound(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that a top-level statement defines; imports are apart."""
    if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, _COMPOUND):
        for child in ast.iter_child_nodes(statement):
            for part in [child, *getattr(child, "body", [])] if isinstance(child, ast.ExceptHandler) else [child]:
                yield from _bound(part) if isinstance(part, ast.stmt) else _stored(part)
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for target in statement.targets if isinstance(statement, ast.Assign) else [statement.target]:
            yield from _stored(target)


def _stored(node: ast.AST) -> Iterator[str]:
    return (part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))


def _acts(statement: ast.stmt) -> bool:
    """Whether a top-level statement does something other than to define, import or register."""
    if isinstance(statement, ast.Expr):
        called = statement.value.func if isinstance(statement.value, ast.Call) else None
        return not isinstance(statement.value, ast.Constant) and not (
            isinstance(called, ast.Call) and _is_registration(called)
        )
    if isinstance(statement, _COMPOUND):
        return any(_acts(part) for part in ast.walk(statement) if isinstance(part, ast.stmt) and part is not statement)
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return any(isinstance(part, ast.Attribute | ast.Subscript) for target in targets for part in ast.walk(target))
    return isinstance(statement, ast.Delete | ast.Assert | ast.Raise)


def _registered(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield ``REGISTRY:name`` and the definition for each decorator that registers it."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        for call in statement.decorator_list:
            match call:
                case ast.Call(func=ast.Attribute(value=registry, attr="register"), args=[ast.Constant(str(name)), *_]):
                    yield f"{getattr(registry, 'id', '')}:{name}", statement.name


def _is_registration(node: ast.AST) -> bool:
    """Whether a call is ``registry.register("name", ...)``."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "register"
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    )


class _Scope:
    """The names that a scope binds, and those that it loads: name, what an import within binds it to, attributes."""

    def __init__(self, outer: _Scope | None, *, is_class: bool = False) -> None:
        self.outer, self.is_class = outer, is_class
        self.stores: set[str] = set()
        self.imports: dict[str, str] = {}
        self.elsewhere: set[str] = set()  # nonlocal
        self.globals: set[str] = set()
        self.loads: set[tuple[str, str, str]] = set()

    def close(self) -> None:
        """Hand what is not bound here to the scope around; classes are no scope for their functions."""
        if self.outer is None:
            return
        top = around = self.outer
        while top.outer:
            top = top.outer
        while around.is_class and around.outer and not self.is_class:
            around = around.outer
        for name, target, attributes in self.loads:
            if target:
                around.loads.add((name, target, attributes))
            elif name in self.globals:
                top.loads.add((name, "", attributes))
            elif name in self.imports:
                around.loads.add((name, self.imports[name], attributes))
            elif name not in self.stores - self.elsewhere:
                around.loads.add((name, "", attributes))


class _Reader:
    """Writes a syntax tree as text and collects the names that it loads."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.top = _Scope(None)

    def visit(self, node: ast.AST, scope: _Scope) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            self._function(node, scope)
        elif isinstance(node, _Comprehension):
            self._comprehension(node, scope)
        elif isinstance(node, ast.ClassDef):
            self._class(node, scope)
        elif isinstance(node, ast.Attribute | ast.Name):
            self._name(node, scope)
        elif isinstance(node, ast.AnnAssign):
            self._annotated(node, scope)
        elif isinstance(node, ast.Call) and _is_registration(node):
            # What is registered does not depend on the registry's code.
            self.out.append("register(")
            for part in [*node.args, *(word for word in node.keywords if word.arg not in DOCUMENTARY)]:
                self.visit(part, scope)
            self.out.append(")")
        else:
            self._bind(node, scope)
            self._fields(node, scope)

    def _bind(self, node: ast.AST, scope: _Scope) -> None:
        if isinstance(node, ast.Import | ast.ImportFrom) and scope.outer:
            found = dict(_imported(node))
            scope.imports |= found
            scope.stores |= found.keys()
        elif isinstance(node, ast.Global):
            scope.globals.update(node.names)
            scope.loads |= {(name, "", "") for name in node.names}
        elif isinstance(node, ast.Nonlocal):
            scope.elsewhere.update(node.names)
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            scope.stores.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            scope.stores.add(node.rest)

    def _fields(self, node: ast.AST, scope: _Scope, *without: str) -> None:
        self.out.append(f"{type(node).__name__}(")
        for name in node._fields:
            value = getattr(node, name, None)
            if name not in _SKIPPED and name not in without and value is not None and value != []:
                self.out.append(f"{name}=")
                self._value(value, scope)
        self.out.append(")")

    def _value(self, value: object, scope: _Scope) -> None:
        if isinstance(value, list):
            self.out.append("[")
            for item in _statements(value):
                self._value(item, scope)
                self.out.append(",")
            self.out.append("]")
        elif isinstance(value, ast.AST):
            self.visit(value, scope)
        else:
            # `repr` knows more letters in later versions of Python.
            self.out.append(ascii(value))

    def _name(self, node: ast.Attribute | ast.Name, scope: _Scope) -> None:
        attributes: list[str] = []
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            attributes.insert(0, root.attr)
            root = root.value
        path = ".".join(attributes)
        self.out.append(f"Attribute({path})" if path else "")
        if not isinstance(root, ast.Name):
            self.visit(root, scope)
            return
        self.out.append(f"Name({root.id})")
        if isinstance(root.ctx, ast.Load):
            scope.loads.add((root.id, "", path))
        else:
            scope.stores.add(root.id)

    def _annotated(self, node: ast.AnnAssign, scope: _Scope) -> None:
        if scope.is_class:
            self.out.append("Field(")
            self.visit(node.annotation, _Scope(scope))
            self.out.append(")")
        if node.value is None:
            self.visit(node.target, scope)
        else:
            self.visit(ast.Assign([node.target], node.value), scope)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: _Scope) -> None:
        inner, arguments = _Scope(scope), node.args
        self.out.append(f"{type(node).__name__}({getattr(node, 'name', '')}")
        scope.stores.add(getattr(node, "name", "lambda"))
        self._value(getattr(node, "decorator_list", []), scope)
        for kind in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"):
            found = getattr(arguments, kind)
            names = [one.arg for one in found] if isinstance(found, list) else [found.arg] if found else []
            self.out.append(f"{kind}={','.join(names)};")
            inner.stores.update(names)
        self._value([*arguments.defaults], scope)
        self._value([*arguments.kw_defaults], scope)
        self._value(node.body, inner)
        self.out.append(")")
        inner.close()

    def _class(self, node: ast.ClassDef, scope: _Scope) -> None:
        inner = _Scope(scope, is_class=True)
        scope.stores.add(node.name)
        self._fields(node, scope, "body")
        self._value(node.body, inner)
        inner.close()

    def _comprehension(self, node: _Comprehension, scope: _Scope) -> None:
        inner, (first, *_) = _Scope(scope), node.generators
        self.out.append(f"{type(node).__name__}(")
        self.visit(first.iter, scope)
        for generator in node.generators:
            self._fields(generator, inner, *(["iter"] if generator is first else []))
        for name in ("key", "value", "elt"):
            if hasattr(node, name):
                self.visit(getattr(node, name), inner)
        self.out.append(")")
        # A walrus binds in the function around.
        scope.stores |= {part.target.id for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
        inner.close()
