"""Identity: what decides a result and nothing else, as a line of text; two results with the same line are the same.

A line has labelled parts in alphabetical order, ``code=explain:1,gradcam:1 data=9f3c... method=04ab...``: what a reader
of Snakemake's reasons needs to see which of them changed. Values are digests, or revisions of code.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

INTRODUCED = Path(__file__).with_name("introduced.json")
DIGITS = 16  # hexadecimal, of sha256: 64 bits


def canonical(value: object) -> str:
    """Return JSON with sorted keys and no spaces: equal content gives equal text; 1.0 is 1.

    >>> canonical({"b": [1.0, 0.5], "a": None})
    '{"a":null,"b":[1,0.5]}'
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def digest(value: object) -> str:
    """Return 16 hexadecimal digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:DIGITS]


def line(**parts: str | None) -> str:
    """Return the identity with these parts; empty ones and None are left out.

    >>> line(model="77ab", code="explain:1", content="")
    'code=explain:1 model=77ab'
    """
    for label, value in parts.items():
        if value and (set(value) & set(" =\n")):
            raise ValueError(f"identity: part {label} is {value!r}; a part has no spaces and no `=`")
    return " ".join(f"{label}={value}" for label, value in sorted(parts.items()) if value)


def parts(identity: str) -> dict[str, str]:
    """Return the parts of an identity by their labels."""
    return dict(part.split("=", 1) for part in identity.split())


def agrees(recorded: str, planned: str) -> bool:
    """Whether a recorded identity has all parts of a planned one; it may have more, such as the weights' sha256.

    >>> agrees("code=explain:1 model=77ab weights=01cd", "code=explain:1 model=77ab")
    True
    """
    return parts(planned).items() <= parts(recorded).items()


def changed(recorded: str, planned: str) -> list[str]:
    """Return the labels of the parts of a planned identity that a recorded one lacks or has otherwise."""
    before, now = parts(recorded), parts(planned)
    return sorted(label for label, value in now.items() if before.get(label) != value)


@cache
def introduced(kind: str) -> dict[str, object]:
    """Return the value of each key of a kind of entry that stands for the time before the key existed.

    Kinds are ``model``, ``method``, ``dataset SOURCE``, ``protocol FAMILY`` and ``parameters METHOD``; keys within
    mappings have dots. The committed list, introduced.json, only ever grows: see docs/contributing.md.
    """
    return json.loads(INTRODUCED.read_text()).get(kind, {})


def view(entry: Mapping, keys: Iterable[str], kind: str) -> dict[str, object]:
    """Return some keys of an entry without those that stand at their introduced value, at every depth.

    A key that is new, or whose default is written out, so changes nothing; nor does the order of keys.

    Parameters
    ----------
    entry : of a catalogue, with defaults filled in
    keys : those that decide the result in question, from the top of the entry
    kind : see `introduced`
    """
    values = introduced(kind)
    kept = {key: _without(entry[key], key, values) for key in keys if key in entry}
    return {key: value for key, value in kept.items() if key not in values or value != values[key]}


def _without(value: object, place: str, values: Mapping[str, object]) -> object:
    if not isinstance(value, Mapping):
        return value
    kept = {key: _without(item, f"{place}.{key}", values) for key, item in value.items()}
    return {
        key: item for key, item in kept.items() if f"{place}.{key}" not in values or item != values[f"{place}.{key}"]
    }
