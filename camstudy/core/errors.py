"""The error types for what a user can mend, and the spelling help their messages use."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

SHOWN = 10  # names in a message


class CamstudyError(Exception):
    """A user's mistake: the message names the key or file, what was found, and what to do.

    The workflow prints it without a traceback; every other exception is a bug and keeps its own.
    """


class MissingFiles(CamstudyError):
    """Files that a user is to put somewhere are not there; whoever knows where they come from adds what to do."""


class Damaged(CamstudyError):
    """A result that is not what was written: which one, and what is set aside so that the next run makes it anew.

    Parameters
    ----------
    found : the file, and what is wrong with it
    record : of the result; what is made from it waits for the record
    files : what is damaged, if that is not the record itself
    """

    def __init__(self, found: str, record: str | Path, *files: str | Path) -> None:
        super().__init__(f"{found}; `camstudy verify` sets it aside, and the next run makes it anew")
        self.found = found
        self.record, self.files = Path(record), [Path(file) for file in files]


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return ``", did you mean `x`?"`` for the nearest valid name, else the list of valid names."""
    names = sorted(map(str, valid))
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f", did you mean `{near[0]}`?"
    return f"; valid names: {', '.join(names)}" if names else ""


def first_of(names: Sequence[str]) -> str:
    """Return the first ten names, and how many more there are.

    >>> first_of(["a", "b"]), first_of("abcdefghijkl")
    ('a, b', 'a, b, c, d, e, f, g, h, i, j and 2 more')
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def unknown(what: str, name: str, valid: Iterable[str]) -> CamstudyError:
    """Build the error for a name that no registry or catalogue knows."""
    return CamstudyError(f"unknown {what} `{name}`{did_you_mean(name, valid)}")
