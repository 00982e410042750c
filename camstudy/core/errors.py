"""The one error type for mistakes a user can mend, and the spelling help its messages use."""

import difflib
from collections.abc import Iterable


class CamstudyError(Exception):
    """A user's mistake: the message names the key or file, what was found, and what to do.

    The workflow prints it without a traceback; every other exception is a bug and keeps its own.
    """


class MissingFiles(CamstudyError):
    """Files that a user is to put somewhere are not there; whoever knows where they come from adds what to do."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return ``", did you mean `x`?"`` for the nearest valid name, else the list of valid names."""
    names = sorted(map(str, valid))
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if near:
        return f", did you mean `{near[0]}`?"
    return f"; valid names: {', '.join(names)}" if names else ""


def unknown(what: str, name: str, valid: Iterable[str]) -> CamstudyError:
    """Build the error for a name that no registry or catalogue knows."""
    return CamstudyError(f"unknown {what} `{name}`{did_you_mean(name, valid)}")
