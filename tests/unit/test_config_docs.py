"""The schema describes every key, and the reference in docs/ is what the schema says."""

import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from camstudy.data.sources import SOURCES
from camstudy.models.variants import VARIANTS
from camstudy.study.schema import load_schema, resolve

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema()
REFERENCE = ROOT / "docs/configuration.md"
FREE = {"kwargs", "parameters"}


def objects(node, name=""):
    """Yield (name, schema) of all parts with properties, but for conditions, which define no keys."""
    if isinstance(node, list):
        for item in node:
            yield from objects(item, name)
    elif isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield name, node
        for key, value in node.items():
            if key != "if":
                yield from objects(value, key)


def keys():
    return [
        (where, key, resolve(part), part_of)
        for where, part_of in objects(SCHEMA)
        for key, part in part_of["properties"].items()
    ]


def test_schema_is_valid_json_schema():
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("where", "key", "part", "part_of"), keys(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_key_has_a_description_and_a_default_or_is_required(where, key, part, part_of):
    assert part["description"].strip().endswith((".", "`"))
    assert ("default" in part) != (key in part_of.get("required", []))


def test_every_source_and_variant_has_a_file_of_its_keys_and_no_file_is_long():
    folder = ROOT / "workflow/schemas"
    for kind, registry in (("sources", SOURCES), ("variants", VARIANTS)):
        assert [path.stem for path in sorted((folder / kind).iterdir())] == list(registry)
    assert {path.name for path in folder.iterdir() if path.is_dir()} <= {"sources", "variants", "terms", "families"}
    assert all(len(path.read_text().splitlines()) <= 400 for path in folder.rglob("*.yaml"))


def test_no_definition_is_left_without_use():
    text = "".join(path.read_text() for path in (ROOT / "workflow/schemas").rglob("*.yaml"))
    own = [name for name in SCHEMA["$defs"] if not name.startswith(("source_", "variant_", "term_", "family_"))]
    assert [name for name in own if f'"#/$defs/{name}"' not in text] == []


def test_every_default_is_valid():
    definitions = {"$schema": SCHEMA["$schema"], "$defs": SCHEMA["$defs"]}
    for _, key, part, _ in keys():
        if "default" in part:
            errors = list(jsonschema.Draft202012Validator(definitions | part).iter_errors(part["default"]))
            assert not errors, (key, errors)


def test_no_object_accepts_unknown_keys():
    for where, part in objects(SCHEMA):
        by_source = [choice["then"] for choice in part.get("allOf", []) if "if" in choice]
        if by_source:  # its branches, which are among the objects too, list every key
            assert all("$ref" in branch for branch in by_source), where
        else:
            assert part.get("additionalProperties") is False, where
    free = [key for _, key, part, _ in keys() if part.get("additionalProperties") is True]
    assert set(free) == FREE


def test_reference_is_up_to_date():
    command = [sys.executable, "-m", "camstudy.study.reference"]
    fresh = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert REFERENCE.read_text() == fresh, (
        "docs/configuration.md is stale: python -m camstudy.study.reference > docs/configuration.md"
    )


def test_reference_has_a_row_for_every_key():
    rows = re.findall(r"^\| `([^`]+)` \|", REFERENCE.read_text(), re.MULTILINE)
    # What the names of a mapping stand for is defined once, for all that have it.
    rows = [row for row in rows if "{name}" not in row] + [*{row for row in rows if "{name}" in row}]
    documented = [re.split(r"\.|\[\]\.", row)[-1] for row in rows]
    assert sorted(documented) == sorted(key for _, key, _, _ in keys())


def test_links_of_the_reference_lead_to_its_headings():
    text = REFERENCE.read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    links = set(re.findall(r"\(#([^)]+)\)", text))
    assert links
    assert links <= {heading.lower().replace(" ", "-") for heading in headings}
