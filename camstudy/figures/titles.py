"""Titles and names as figures can draw them: as the text that they are, on one line, not too long."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from matplotlib import font_manager

from camstudy.analysis.summary import TableInputs

LONGEST = 48  # characters; in tables, titles stand in full
FONT = "DejaVu Sans"


def drawn(text: str) -> str:
    """Return a title or name as it is drawn: on one line, shortened in its middle, every character one that shows.

    Characters that the font of the figures lacks are named by their numbers. In figures, ``$`` is a dollar sign
    (`camstudy.figures.style.RC`).

    >>> drawn("Cost $5"), drawn("two\\nlines"), drawn("a" * 30 + "b" * 30)
    ('Cost $5', 'two lines', 'aaaaaaaaaaaaaaaaaaaaaaaa…bbbbbbbbbbbbbbbbbbbbbbb')
    """
    text = "".join(
        character if _has(character) else f"[U+{ord(character):04X}]" for character in " ".join(text.split())
    )
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]}…{text[len(text) + LONGEST // 2 + 1 - LONGEST :]}"
    # Matplotlib leaves names with an underscore in front out of legends.
    return f"\u2009{text}" if text.startswith("_") else text


def drawable(inputs: TableInputs) -> TableInputs:
    """Return the inputs of a figure with all titles as they are drawn."""
    study, catalog = inputs.study, inputs.study["catalog"]
    titled = {
        kind: {name: _drawn(entry) for name, entry in entries.items()}
        for kind, entries in catalog.items()
        if isinstance(entries, Mapping)
    }
    pairs = {"comparisons": [_drawn(pair) for pair in study["comparisons"]]}
    if "pairs" in study:
        pairs["pairs"] = [[*names, drawn(title)] for *names, title in study["pairs"]]
    models = {name: _drawn(record) for name, record in inputs.models.items()}
    return replace(inputs, models=models, study=study | pairs | {"catalog": catalog | titled})


def _drawn(entry: Mapping) -> dict:
    """Return an entry with its title, if it has one, as it is drawn."""
    return dict(entry) | ({"title": drawn(entry["title"])} if "title" in entry else {})


@cache
def _has(character: str) -> bool:
    """Return whether the font of all figures has a character."""
    font = font_manager.get_font(font_manager.findfont(FONT))
    return character.isprintable() and bool(font.get_char_index(ord(character)))
