"""Add new keys to the list of introduced values, introduced.json: `python -m camstudy.pipeline.introduced`.

A key of an entry that stands at its introduced value is in no identity. The value is the one under which all is as it
was before the key existed; it is listed once, with the key, and never changes, whatever becomes of the key's default.
"""

import inspect
import json
from collections.abc import Iterator, Mapping

from camstudy.core.identity import INTRODUCED
from camstudy.explain.methods import METHODS
from camstudy.study.schema import load_schema, resolve


def defaults() -> dict[str, dict[str, object]]:
    """Return today's default of every optional key of each kind of entry, keys within mappings with dots."""
    entries = load_schema()["properties"]["catalog"]["properties"]
    found: dict[str, dict[str, object]] = {}
    for kind in ("models", "methods"):
        found[kind.removesuffix("s")] = dict(_optional(entries[kind]["additionalProperties"]))
    for kind, key in (("datasets", "source"), ("protocols", "family")):
        for choice in resolve(entries[kind]["additionalProperties"])["allOf"]:
            tested = choice["if"]["properties"][key]
            for name in tested.get("enum", [tested.get("const")]):
                found[f"{kind.removesuffix('s')} {name}"] = dict(_optional(choice["then"]))
    for name, method in METHODS.items():
        arguments = inspect.signature(method.function).parameters.values()
        given = {argument.name: argument.default for argument in arguments if argument.kind is argument.KEYWORD_ONLY}
        found[f"parameters {name}"] = {
            key: value for key, value in given.items() if value is not inspect.Parameter.empty
        }
    return {kind: values for kind, values in sorted(found.items()) if values}


def _optional(schema: Mapping, place: str = "") -> Iterator[tuple[str, object]]:
    """Yield the optional keys of a part of the schema and their defaults, at every depth."""
    schema = resolve(schema)
    for choice in schema.get("allOf", ()):
        yield from _optional(choice["then"], place)
    for key, value in schema.get("properties", {}).items():
        part = resolve(value)
        if "default" in part:
            yield f"{place}{key}", part["default"]
        yield from _optional(part, f"{place}{key}.")


def main() -> None:
    """Write the list with the keys that are new; those that are listed stay as they are."""
    listed = json.loads(INTRODUCED.read_text()) if INTRODUCED.exists() else {}
    for kind, values in defaults().items():
        listed[kind] = values | listed.get(kind, {})
    INTRODUCED.write_text(json.dumps(listed, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
