"""Tables and lists of one's own: of any program's delimiter, and names of files as any system writes them."""

import csv
import difflib
import io
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from camstudy.core.errors import CamstudyError, MissingFiles, first_of
from camstudy.data.formats.files import Files, letters

DELIMITERS = ",;\t"
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def read_rows(
    files: Files, table: str, columns: Sequence[str], optional: str | None = None
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each line of a CSV file is, for messages, and what its columns hold, without spaces around it.

    Values are separated by commas, semicolons or tabs, whichever the first line has most of. Names of columns go by
    small letters; lines without values are passed over, values that a line lacks are empty.

    Raises `CamstudyError`, with the line, where ``columns`` are missing or twice there, or a column is almost called
    as one that may be missing (``optional``), and for lines with too many values or a quote that does not end.
    """
    text = read_text(files, table)
    delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    names: list[str] = []
    try:
        names += [name.strip().lower() for name in next(rows, [])]
        _check_columns(names, columns, f"{files.path}, {table}, line 1")
        if optional and optional not in names and (near := difflib.get_close_matches(optional, names, 1, 0.8)):
            raise CamstudyError(
                f"{files.path}, {table}, line 1: has a column `{near[0]}`, did you mean `{optional}`? Correct its "
                "name, or take it out"
            )
        for row in rows:
            where = f"{files.path}, {table}, line {rows.line_num}"
            values = [value.strip() for value in row]
            if any(values[len(names) :]):
                raise CamstudyError(
                    f"{where}: has {len(values)} values for {len(names)} columns; put those with a {delimiter!r} in "
                    'them into double quotes, "..."'
                )
            if any(values):
                yield where, dict(zip(names, [*values, *[""] * len(names)], strict=False))
    except csv.Error as error:
        raise CamstudyError(
            f"{files.path}, {table}, line {rows.line_num}: is no line of a table ({error}); look for a double quote "
            "that does not end"
        ) from None


def number_of(row: Mapping[str, str], column: str, where: str) -> float:
    """Return a finite number of a line; raise `CamstudyError` for anything else, and for a comma as decimal point."""
    text = row[column]
    if DECIMAL_COMMA.fullmatch(text):
        raise CamstudyError(
            f"{where}: `{column}` is {text!r}, with a comma as decimal point; export the table with points, as in "
            f"{text.replace(',', '.')!r}"
        )
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise CamstudyError(f"{where}: `{column}` is {text!r}, expected a number")
    return value


def _check_columns(names: Sequence[str], columns: Sequence[str], where: str) -> None:
    there = ", ".join(names) or "none"
    if absent := [column for column in columns if column not in names]:
        raise CamstudyError(
            f"{where}: has no column {', '.join(absent)}, but {there}; name the columns {', '.join(columns)}"
        )
    if twice := [column for column in columns if names.count(column) > 1]:
        raise CamstudyError(f"{where}: has column {', '.join(twice)} twice; keep one of them")


def finder(files: Files, names: Iterable[str]) -> Callable[[str], str | None]:
    r"""Return what finds one of ``names`` as it may be written in a list, and None for what is not there.

    That is as it is, below ``files.path`` or with that before it, with `./` or with backslashes, and with accents as
    letters or of their own: macOS writes one, most others the other.
    """
    exact, plain = {*names}, {}
    for name in exact:
        form = letters(name)
        plain[form] = name if form not in plain else None

    def find(written: str) -> str | None:
        name = written.removeprefix(f"{files.path}/").removeprefix("./")
        slashes = name.replace("\\", "/").removeprefix("./")
        return name if name in exact else plain.get(letters(slashes))

    return find


def read_text(files: Files, name: str) -> str:
    """Return the text of a file; `CamstudyError` if it is not there or not in UTF-8."""
    if name not in files.sizes:
        raise MissingFiles(f"{files.path}: has no {name}")
    try:
        return files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CamstudyError(f"{files.path}, {name}: is no text in UTF-8 ({error}); save it as such") from None


def read_lines(files: Files, name: str) -> list[str]:
    """Return the lines of a file, without empty ones and those that begin with `#`; there must be one."""
    lines = [line.strip() for line in read_text(files, name).splitlines()]
    if found := [line for line in lines if line and not line.startswith("#")]:
        return found
    raise CamstudyError(f"{files.path}, {name}: has no lines; add some, or leave it out")


def refuse_missing(files: Files, table: str, missing: Sequence[str], there: Iterable[str]) -> None:
    """Raise `CamstudyError` that shows names which a list has and no image."""
    if missing:
        raise CamstudyError(
            f"{files.path}, {table}: names images that are not there: {first_of(missing)}; correct the "
            f"names, which are like {min(there)}"
        )
