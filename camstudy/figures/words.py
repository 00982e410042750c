"""Words in figures of maps: broken into lines that fit a width, measured in the font of all figures."""

from collections.abc import Iterator
from functools import cache

from camstudy.figures.titles import font

SIZE = 6.0  # points: the smallest letters of a printed figure
LINE = 1.2 * SIZE / 72  # inches from line to line


@cache
def width(text: str, size: float = SIZE) -> float:
    """Return how wide a line of text is, in inches."""
    letters = font()
    # Matplotlib shares the font, at whatever size it was used last: measured at a size that is none's.
    letters.set_size(100, 72)
    letters.set_text(text, 0)
    return letters.get_width_height()[0] / 64 * size / 100 / 72


@cache
def fitted(text: str, room: float, size: float = SIZE) -> str:
    """Return text on lines of at most ``room`` inches, broken at spaces and hyphens, and elsewhere where it must be.

    >>> fitted("Guided backpropagation", 0.9)
    'Guided\\nbackpropagation'
    """
    found, line = [], ""
    for piece in _pieces(text, room, size):
        if line and width((line + piece).rstrip(), size) > room:
            found.append(line.rstrip())
            line = ""
        line += piece
    return "\n".join([*found, line.rstrip()])


def height(text: str) -> float:
    """Return how high lines of the smallest letters are, in inches; nothing of no text."""
    return LINE * len(text.splitlines())


def _pieces(text: str, room: float, size: float) -> Iterator[str]:
    """Yield the parts of a text between which lines may be broken, none of them wider than ``room`` if it can be."""
    for word in text.replace("-", "-\0").replace(" ", " \0").split("\0"):
        while len(word) > 2 and width(word.rstrip(), size) > room:
            cut = _cut(word, room, size)
            yield word[:cut] + ("-" if word[cut - 1 : cut + 1].isalpha() else "")
            word = word[cut:]
        yield word


def _cut(word: str, room: float, size: float) -> int:
    """Return after how many letters a long word is divided: before a capital letter, or where most have room."""
    having = [n for n in range(1, len(word)) if width(f"{word[:n]}-", size) <= room] or [1]
    inner = [n for n in having if n > 1 and word[n - 1].islower() and word[n].isupper()]
    # Not so that a letter or two are left over.
    return max(inner or [n for n in having if len(word.rstrip("- ")) - n > 2] or having)
