"""Small tables of a page, and how settings, times and weights are written in them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import yaml

from camstudy.core.addresses import redact_text


@dataclass(frozen=True)
class Grid:
    """A table of text: what its columns are called, its rows, and what is said below it."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def settings(entry: object) -> str:
    """Return keys and values as a study file has them, on one line; a dash where there are none.

    >>> settings({"ties": "mean", "iou": [0.5]}), settings({})
    ('ties: mean, iou: [0.5]', '–')
    """
    if not entry and not isinstance(entry, int | float | bool):
        return "–"
    text = yaml.safe_dump(entry, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    text = text.strip().removesuffix("\n...").strip()
    return redact_text(text[1:-1] if isinstance(entry, Mapping) else text)


def plural(count: int, what: str) -> str:
    """Return a number of things.

    >>> plural(1, "result"), plural(1200, "result")
    ('1 result', '1,200 results')
    """
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
