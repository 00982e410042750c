"""What parameters of methods may be, as their records say it: checked when a study is read, before any job."""

import math
from collections.abc import Callable, Iterable

from camstudy.core.errors import CamstudyError, unknown

# Raises `CamstudyError` unless a value, the last argument, is one that a method's parameter, by their names, may have.
Check = Callable[[str, str, object], None]


def at_least(lowest: float) -> Check:
    """Return the check for finite numbers from ``lowest`` on."""
    return allowed(lambda value: lowest <= value < math.inf, f"at least {lowest}")


def above(lowest: float, highest: float = math.inf, *, closed: bool = False) -> Check:
    """Return the check for finite numbers above ``lowest`` and below ``highest``, or up to it where ``closed``."""
    end = "" if highest == math.inf else f" and {'at most' if closed else 'below'} {highest}"
    return allowed(lambda value: lowest < value < highest or (closed and value == highest), f"above {lowest}{end}")


def odd() -> Check:
    """Return the check for odd numbers from 1 on."""
    return allowed(lambda value: value >= 1 and value % 2 == 1, "odd and at least 1")


def one_of(names: Iterable[str]) -> Check:
    """Return the check for names, which tells the nearest one."""
    valid = tuple(names)

    def known(method: str, parameter: str, value: object) -> None:
        if value not in valid:
            raise unknown(f"`{parameter}` of method `{method}`:", value, valid)

    return known


def allowed(holds: Callable[[object], bool], words: str) -> Check:
    """Return the check for values of which ``holds`` is true; ``words`` say after "must be" which they are."""
    return lambda method, parameter, value: check(holds(value), method, parameter, value, words)


def check(valid: bool, method: str, parameter: str, value: object, expected: str) -> None:
    """Raise `CamstudyError` unless a parameter's value is ``valid``; ``expected`` says in words what would be."""
    if not valid:
        raise CamstudyError(f"method `{method}`: `{parameter}` must be {expected}, found {value!r}")


def check_type(method: str, parameter: str, value: object, default: object, *, missing: bool) -> None:
    """Compare with the type of the default; true and false are no numbers, whole numbers will do as fractions.

    What has no default, as it is ``missing``, is text.
    """
    kinds = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
    kind = str if missing else type(default)
    accepted = (int, float) if kind is float else (kind,)
    valid = kind not in kinds or (isinstance(value, accepted) and (kind is bool or not isinstance(value, bool)))
    check(valid, method, parameter, value, kinds.get(kind, ""))
