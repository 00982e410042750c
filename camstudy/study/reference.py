"""The reference of the configuration, written from its schema: ``python -m camstudy.study.reference``."""

import math
from collections.abc import Iterator, Mapping

from camstudy.study.schema import expectation, load_schema, resolve, show

INTRODUCTION = """\
# Configuration

<!-- Generated from the schema: `python -m camstudy.study.reference > docs/configuration.md` -->

A study is a YAML file: lists of names, and what to make of them. The names stand for entries of the
catalogue, in `config/catalog/`. Keys that are left out take their defaults. Unknown keys, unknown names and
impossible values are refused before anything runs, all at once. The schema is in `workflow/schemas/`.

A second file, given with `--configfile`, is laid over the first: it adds to mappings, such as the catalogue,
and replaces lists and single values. `--config key=value` replaces a single value at the top level.

In the tables, a dotted key is a key within a mapping (`statistics.alpha` is `alpha` below `statistics`), and
`[]` stands for each item of a list, `{name}` for each name of a mapping.
"""


def reference() -> str:
    """Return the reference as Markdown: a section per titled part of the schema, a row per key."""
    return "\n".join([INTRODUCTION, *_sections(load_schema())])


def _sections(schema: Mapping) -> Iterator[str]:
    rows = ["| Key | Values | Default | Meaning |", "| --- | --- | --- | --- |", *_rows(schema, "")]
    yield "\n".join([f"## {schema['title']}", "", schema["description"], "", *rows, ""])
    for part in _titled(schema):
        yield from _sections(part)


def _rows(schema: Mapping, prefix: str) -> Iterator[str]:
    for key, stated in schema.get("properties", {}).items():
        part = resolve(stated)
        default = "required" if key in schema.get("required", ()) else f"`{show(part['default'], math.inf)}`"
        elsewhere = list(_titled({"items": stated})) if "title" in part or "properties" not in part else []
        links = [f"[{section['title']}](#{_anchor(section['title'])})" for section in elsewhere]
        meaning = part["description"] + (f" See {', '.join(links)}." if links else "")
        cells = (f"`{prefix}{key}`", expectation(part), default, meaning)
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
        if "title" not in part:
            yield from _rows(part, f"{prefix}{key}.")
            yield from _rows(part.get("items", {}), f"{prefix}{key}[].")
            named = part.get("additionalProperties")
            if isinstance(named, Mapping) and "title" not in resolve(named):
                yield from _rows(named, f"{prefix}{key}.{{name}}.")


def _titled(schema: Mapping) -> Iterator[dict]:
    """Yield the nearest parts below that have a title, in order."""
    below = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    below += [choice["then"] for choice in schema.get("allOf", ())]
    for part in below:
        if isinstance(part, Mapping):
            # Without what stands beside the reference, which describes the key and not the section.
            target = resolve({"$ref": part["$ref"]} if "$ref" in part else part)
            if "title" in target:
                yield target
            else:
                yield from _titled(target)


def _anchor(title: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return "".join(letter for letter in title.lower().replace(" ", "-") if letter.isalnum() or letter in "-_")


if __name__ == "__main__":
    print(reference(), end="")
