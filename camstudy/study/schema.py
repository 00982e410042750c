"""The schema of the configuration: loading it, and putting what it accepts and refuses into words."""

import copy
import math
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from camstudy.core.addresses import redact
from camstudy.core.errors import CamstudyError, did_you_mean, unknown
from camstudy.core.registry import ModuleRegistry
from camstudy.data.sources import SOURCES
from camstudy.figures import FIGURES
from camstudy.metrics.scoring import FAMILIES
from camstudy.models.variants import VARIANTS
from camstudy.study.written import Place, load_yaml
from camstudy.tables import TABLES
from camstudy.training.terms import TERMS

FOLDER = Path(__file__).parents[2] / "workflow" / "schemas"

# What a user's file says, by the kind of what it is about.
USERS_KEYS = {
    "source": (
        *("title", "description", "additionalProperties"),
        *(f"properties.{key}" for key in ("source", "root", "n_images", "sample_seed", "human_ceiling", "licence")),
    ),
    "family": ("title", "description", "additionalProperties", "properties.family", "properties.title"),
    "variant": ("title", "description", "x-summary", "additionalProperties"),
    "term": ("title", "description", "x-summary", "additionalProperties"),
}

TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "a mapping",
    "string": "text",
}
LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "above",
    "maximum": "at most",
    "exclusiveMaximum": "below",
}

# An address, misspelt or not; other text may have a question mark.
_ADDRESS = re.compile(r"//|\?.*=|:.*@")


@cache
def load_schema() -> dict:
    """Return the schema of the configuration (JSON Schema 2020-12), put together from the files and what is registered.

    Register first: `forget_schema` has it put together anew.
    """
    found: dict[str, dict] = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        _define(found, path.stem, path)
    for kind, registry in (("source", SOURCES), ("variant", VARIANTS), ("term", TERMS)):
        for name in registry:
            if own := _file_of(kind, name, registry):
                _define(found, f"{kind}_{name}", own)
    # Those of no module are of networks, not of maps.
    families = sorted({*FAMILIES, *(path.stem for path in (FOLDER / "families").glob("*.yaml"))})
    for name in families:
        if own := _file_of("family", name, FAMILIES):
            _define(found, f"family_{name}", own)
    _choose(found["dataset"], "source", list(SOURCES))
    _choose(found["protocol"], "family", families)
    found["model"]["properties"]["variant"]["properties"] = _options(found, "variant")
    found["training"]["properties"]["terms"]["properties"] = _options(found, "term")
    schema = found.pop("study")
    schema["properties"]["tables"]["items"] = {"enum": list(TABLES)}
    schema["properties"]["figures"]["items"] = {"enum": list(FIGURES)}
    return schema | {"$defs": found}


def forget_schema() -> None:
    """Have the schema put together anew, as more is registered now."""
    load_schema.cache_clear()
    validator.cache_clear()


def _define(found: dict[str, dict], name: str, path: Path) -> None:
    """Add what a file defines: itself under a name, and its `$defs`."""
    try:
        content = load_yaml(path)
    except FileNotFoundError:
        what = name.replace("_", " ", 1)
        raise CamstudyError(
            f"{path}: is missing, and says which keys the {what} has; write it like those beside"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CamstudyError(f"{path}: is no YAML that can be read ({' '.join(str(error).split())}); mend it") from None
    if FOLDER not in path.parents:
        _check_own(content, path, USERS_KEYS[name.partition("_")[0]], found)
    parts = content.pop("$defs", {}) | ({name: content} if content else {})
    if twice := found.keys() & parts.keys():
        raise CamstudyError(f"{path}: defines `{min(twice)}`, as another file of the schema does; rename it")
    found |= parts


def _file_of(kind: str, name: str, registry: ModuleRegistry) -> Path | None:
    """Return the file of a registered thing's keys: in the workflow's folder, or beside the user's own module.

    None for a term of the loss that is asked for by other keys of a recipe.
    """
    own = FOLDER / ("families" if kind == "family" else f"{kind}s") / f"{name}.yaml"
    if name in registry.own or name not in registry:
        return own if kind != "term" or own.is_file() else None
    module, line = registry.place(name)
    path = Path(module).with_name(f"{name}.schema.yaml")
    if not path.is_file():
        raise CamstudyError(
            f"{module}, line {line}: the {kind} `{name}` has no file that says its keys; write `{path.name}` beside "
            f"the module (docs/extending.md has an example)"
        )
    return path


def _check_own(content: object, path: Path, needed: Collection[str], definitions: Collection[str]) -> None:
    """Refuse a user's file that says less than those of the workflow do: messages and the reference print it."""
    if not isinstance(content, dict) or not isinstance(content.get("properties"), dict):
        raise CamstudyError(
            f"{path}: has no mapping `properties`, which lists the keys; write it like {FOLDER}/sources"
        )
    try:
        jsonschema.Draft202012Validator.check_schema(content)
    except jsonschema.SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "the file"
        raise CamstudyError(f"{path}: `{place}` is no JSON schema ({error.message}); mend it") from None
    known = {*content, *(f"properties.{key}" for key in content["properties"])}
    if missing := [key for key in needed if key not in known]:
        raise CamstudyError(f"{path}: lacks `{'`, `'.join(missing)}`; write it like the files in {FOLDER}")
    for key, part in content["properties"].items():
        reference = part.get("$ref", "").removeprefix("#/$defs/")
        if reference and reference not in definitions:
            raise CamstudyError(f"{path}: `properties.{key}`: {unknown('definition', reference, definitions)}")
        stated = "description" in part and ("default" in part or key in content.get("required", ()))
        if not reference and not stated:
            text = "needs a `description`, and a `default` or to be `required`"
            raise CamstudyError(f"{path}: `properties.{key}` {text}")


def _choose(entry: dict, key: str, names: list[str]) -> None:
    """Let a key of a kind of entry choose what its other keys are."""
    entry["properties"][key]["enum"] = names
    entry["allOf"] = [
        {
            "if": {"required": [key], "properties": {key: {"const": name}}},
            "then": {"$ref": f"#/$defs/{key}_{name}"},
        }
        for name in names
    ]


def _options(found: Mapping[str, Mapping], kind: str) -> dict[str, dict]:
    """Return the keys by which variants or terms are asked for: a name with its settings, or null."""
    names = (name for name in found if name.startswith(f"{kind}_"))
    return {
        name.removeprefix(f"{kind}_"): {
            "description": found[name]["x-summary"],
            "type": ["object", "null"],
            "default": None,
            "$ref": f"#/$defs/{name}",
        }
        for name in names
    }


@cache
def validator() -> jsonschema.Draft202012Validator:
    """Return the schema's validator, for which 2.0 is no integer: Python's ``range`` thinks so too."""
    checker = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    kind = jsonschema.validators.extend(jsonschema.Draft202012Validator, type_checker=checker)
    return kind(load_schema())


def resolve(schema: Mapping) -> dict:
    """Return a part of the schema with its ``$ref`` followed; what stands beside the reference wins."""
    if "$ref" not in schema:
        return dict(schema)
    target = load_schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return {**resolve(target), **{key: value for key, value in schema.items() if key != "$ref"}}


def fill(value: Any, schema: Mapping) -> Any:
    """Return a copy with the defaults of the schema, at every depth."""
    schema = resolve(schema)
    for choice in schema.get("allOf", ()):
        if validator().evolve(schema=choice["if"]).is_valid(value):
            value = fill(value, choice["then"])
    if isinstance(value, list):
        return [fill(item, schema.get("items", {})) for item in value]
    if not isinstance(value, dict):
        return value
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties")
    others = others if isinstance(others, dict) else {}
    filled = {key: fill(item, properties.get(key, others)) for key, item in value.items()}
    for key, part in properties.items():
        part = resolve(part)
        if key not in filled and "default" in part and not part.get("x-stays-absent"):
            filled[key] = fill(copy.deepcopy(part["default"]), part)
    if schema.get("x-omit-null"):
        filled = {key: item for key, item in filled.items() if item is not None}
    return filled


def expectation(schema: Mapping) -> str:
    """Say in words what a part of the schema accepts: ``an integer of at least 1, or null``."""
    if "x-expected" in schema:
        return schema["x-expected"]
    if "const" in schema:
        return f"`{show(schema['const'])}`"
    if "enum" in schema:
        names = [f"`{show(value)}`" for value in schema["enum"]]
        return names[0] if len(names) == 1 else f"one of {', '.join(names)}"
    types = _types(schema)
    phrase = " or ".join(TYPES[name] for name in types if name != "null")
    bounds = [f"{word} {schema[key]}" for key, word in LIMITS.items() if key in schema]
    if bounds:
        phrase += (" of " if bounds[0].startswith("at") else " ") + " and ".join(bounds)
    return phrase + (", or null" if "null" in types else "")


def show(value: object, width: float = 60) -> str:
    """Write a value in one line as YAML would, with quotes where YAML needs them, cut off at ``width``.

    Of addresses it has what may be shown.
    """
    text = yaml.safe_dump(
        _redacted(value), default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False
    )
    text = " ".join(text.removesuffix("\n").removesuffix("\n...").split())
    return text if len(text) <= width else f"{text[: int(width) - 3]}..."


def _redacted(value: object) -> object:
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    return redact(value) if isinstance(value, str) and _ADDRESS.search(value) else value


def explain(error: jsonschema.ValidationError) -> Iterator[tuple[Place, str]]:
    """Put an error of the validator into words: yields the place of each mistake and what is wrong there."""
    place, schema, found = tuple(error.absolute_path), error.schema, error.instance
    if "propertyNames" in error.absolute_schema_path:
        yield (*place, found), f"not allowed as a name, expected {expectation(schema)}"
    elif error.validator == "additionalProperties":
        valid = schema["properties"]
        for key in found.keys() - valid.keys():
            yield (*place, key), f"unknown key{_hint_for_key(key, valid)}"
    elif error.validator == "required":
        for key in schema["required"]:
            if key not in found:
                part = resolve(schema["properties"][key])
                yield (*place, key), f"missing, expected {expectation(part)}. {part['description']}"
    elif error.validator == "uniqueItems":
        for index, item in enumerate(found):
            if item in found[:index]:
                yield (*place, index), f"`{show(item)}` is listed twice"
    else:
        kind = " (text)" if isinstance(found, str) else ""
        hint = _hint(found, schema, nested=len(place) > 1)
        yield place, f"found {show(found)}{kind}, expected {expectation(schema)}{hint}"


def _hint_for_key(key: str, valid: Collection[str]) -> str:
    outer, dot, inner = key.partition(".")
    if dot and outer in valid:
        return f"; write `{outer}: {{{inner}: ...}}`"
    if key != key.strip():
        return (
            "; before or after it is a space of another kind (U+00A0, for one), as pages and chats have: type it anew"
        )
    return did_you_mean(key, valid)


def _types(schema: Mapping) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else types


def _hint(value: object, schema: Mapping, *, nested: bool) -> str:
    """Return what to do about the usual slips, those of YAML above all; empty if there is nothing to add."""
    types = _types(schema)
    hint = ""
    if isinstance(value, str):
        hint = _hint_for_text(value, types, nested)
        near = did_you_mean(value, filter(None, schema.get("enum", ())))
        if near.startswith(","):
            hint = near
        hint = schema.get("x-hints", {}).get(value.partition(":")[0].lower(), hint)
    elif isinstance(value, bool) and ("string" in types or "enum" in schema):
        hint = "; YAML reads yes, no, on and off as true and false: put quotes around text"
    elif isinstance(value, int | float) and "string" in types and "integer" not in types:
        hint = "; put quotes around it"
    if "array" in types and not hint and not isinstance(value, list | dict):
        if value is not None:
            hint = f"; write [{show(value)}]"
        elif not schema.get("minItems"):
            hint = "; write []"
    return hint


def _hint_for_text(value: str, types: list[str], nested: bool) -> str:
    write = ""
    if "number" in types and _is_number(value, float):
        # YAML takes 1e-3 for text: it wants a point, and a sign in the exponent.
        if "e" in value.lower() and not re.fullmatch(r"[-+]?\d+\.\d*[eE][-+]\d+", value):
            return "; write " + re.sub(r"(\.\d+?)0*e", r"\1e", f"{float(value):e}")
        write = value
    elif "integer" in types and _is_number(value, int):
        # YAML takes 0199 for text: numbers that begin with 0 are octal there.
        write = str(int(value))
    elif "integer" in types and _is_number(value, float) and float(value).is_integer():
        write = str(int(float(value)))
    elif "boolean" in types and value.lower() in ("true", "false", "yes", "no", "on", "off"):
        write = "true or false"
    elif "null" in types and value.lower() in ("null", "none", "~"):
        write = "null"
    if not write:
        return ""
    # Snakemake parses numbers given by --config, but not inside of a mapping.
    note = " (within `--config key={...}` everything is text: use a file)" if nested else ""
    return f"; write {write} without quotes{note}"


def _is_number(text: str, kind: type) -> bool:
    try:
        return math.isfinite(kind(text))
    except ValueError:
        return False
