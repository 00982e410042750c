"""Titles and names as figures can draw them: as the text that they are, on one line, not too long."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache

from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from camstudy.analysis.summary import TableInputs
from camstudy.data.synsets import synset_names

LONGEST = 48  # characters; in tables, titles stand in full
FONT = "DejaVu Sans"


def drawn(text: str) -> str:
    """Return a title or name as it is drawn: on one line, shortened in its middle, every character one that shows.

    Characters that the font of the figures lacks are named by their numbers. In figures, ``$`` is a dollar sign
    (`camstudy.figures.style.RC`).

    >>> drawn("Cost $5"), drawn("two\\nlines"), drawn("a" * 30 + "b" * 30)
    ('Cost $5', 'two lines', 'aaaaaaaaaaaaaaaaaaaaaaaa…bbbbbbbbbbbbbbbbbbbbbbb')
    """
    text = _plain(text)
    return _shown(text if len(text) <= LONGEST else _cut(text, LONGEST // 2))


def told_apart(titles: Iterable[str]) -> dict[str, str]:
    """Return each title as it is drawn; of long ones that would be drawn alike, what they differ in is kept.

    >>> one, other = told_apart(["a" * 40 + "1" + "b" * 40, "a" * 40 + "2" + "b" * 40]).values()
    >>> one
    'aaaaaaaaaaaa…aaaaaaaaaaa1bbbbbbbbbbbbbbbbbbbbb…b'
    >>> other
    'aaaaaaaaaaaa…aaaaaaaaaaa2bbbbbbbbbbbbbbbbbbbbb…b'
    """
    found = {title: drawn(title) for title in titles}
    for text, count in Counter(found.values()).items():
        if count == 1:
            continue
        alike = [title for title in found if found[title] == text]
        plain = [_plain(title) for title in alike]
        # At the first place where not all have the same character.
        start = next((n for n, each in enumerate(zip(*plain, strict=False)) if len({*each}) > 1), LONGEST)
        cut = [_shown(_window(title, start)) for title in plain]
        if len({*cut}) < count:  # they differ in more than one place, or in spaces alone
            cut = [f"{one[: LONGEST - 4]} ({number})" for number, one in enumerate(cut, 1)]
        found |= dict(zip(alike, cut, strict=True))
    return found


def drawable(inputs: TableInputs) -> TableInputs:
    """Return the inputs of a figure with all titles as they are drawn."""
    study, catalog = inputs.study, inputs.study["catalog"]
    titled = {kind: _drawn_all(entries) for kind, entries in catalog.items() if isinstance(entries, Mapping)}
    comparisons = _drawn_all(dict(enumerate(study["comparisons"])))
    pairs = {"comparisons": [comparisons[number] for number in range(len(study["comparisons"]))]}
    if "pairs" in study:
        titles = told_apart(title for *_, title in study["pairs"])
        pairs["pairs"] = [[*names, titles[title]] for *names, title in study["pairs"]]
    return replace(inputs, models=_drawn_all(inputs.models), study=study | pairs | {"catalog": catalog | titled})


def class_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names of classes as they are drawn: of ImageNet's, which list synonyms, the first that is the class's.

    A synset (`n02123045`) is named by its words. Where two classes have the first word in common, it stands in full.

    >>> class_names(["n02123045", "tench, Tinca tinca", "crane", "crane, bird"])["tench, Tinca tinca"]
    'tench'
    """
    words = synset_names()
    known, full = {*words.values()}, {name: words.get(name, name) for name in names}
    short = {name: text.split(",")[0] if text in known else text for name, text in full.items()}
    count = Counter(short.values())
    chosen = {name: short[name] if count[short[name]] == 1 else text for name, text in full.items()}
    titles = told_apart(chosen.values())
    return {name: titles[text] for name, text in chosen.items()}


@cache
def font() -> FT2Font:
    """Return the font of all figures."""
    return font_manager.get_font(font_manager.findfont(FONT))


def _drawn_all(entries: Mapping) -> dict:
    """Return entries with their titles, of those that have one, as they are drawn."""
    titles = told_apart(entry["title"] for entry in entries.values() if "title" in entry)
    return {
        name: dict(entry) | ({"title": titles[entry["title"]]} if "title" in entry else {})
        for name, entry in entries.items()
    }


def _plain(text: str) -> str:
    """Return text on one line, in characters that the font has."""
    return "".join(
        character if _has(character) else f"[U+{ord(character):04X}]" for character in " ".join(text.split())
    )


def _shown(text: str) -> str:
    # Matplotlib leaves names with an underscore in front out of legends.
    return f"\u2009{text}" if text.startswith("_") else text


def _cut(text: str, before: int) -> str:
    """Return so many characters of a long text, an ellipsis, and so many of its end that it is `LONGEST`."""
    return f"{text[:before]}…{text[len(text) + before + 1 - LONGEST :]}"


def _window(text: str, place: int) -> str:
    """Return the beginning of a long text, what is around a place in it, and its end, with ellipses between."""
    head, tail = LONGEST // 4, 1
    middle = LONGEST - head - tail - 2
    start = min(max(place - middle // 3, head), max(len(text) - middle - tail, head))
    if start + middle >= len(text) - tail:
        return f"{text[:head]}…{text[len(text) + head + 1 - LONGEST :]}"
    return f"{text[:head]}…{text[start : start + middle]}…{text[-tail:]}"


@cache
def _has(character: str) -> bool:
    """Return whether the font of all figures has a character."""
    return character.isprintable() and bool(font().get_char_index(ord(character)))
