"""Published values beside measured ones: read their files, and join them to the long table of scores."""

import csv
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from camstudy.core.errors import CamstudyError, did_you_mean

COLUMNS = (
    *("dataset", "model", "variant", "method", "catalog_model", "catalog_method", "metric", "value", "unit"),
    *("table", "page", "source", "verified", "note"),
)
OPTIONAL = ("protocol",)  # at the end of the line, where a row may leave it out
REQUIRED = ("dataset", "model", "metric", "value", "unit", "source", "verified")
# What one unit is in the long table, percentages apart: those are shares there unless a metric says otherwise.
UNITS = {"%": 0.01, "1": 1.0, "M": 1e6, "GMAC": 1e9, "GFLOP": 1e9, "s": 1.0, "nat": 1.0, "of 8": 1.0}
JOINED = ("published", "difference", "published_source", "published_verified")


def read_published(path: str | Path) -> pd.DataFrame:
    """Read a file of published values: its columns, ``value`` as number and ``verified`` as bool, text elsewhere.

    The columns are explained in config/published/README.md. Raises `CamstudyError` with the file and line of each
    mistake: missing and unknown columns, empty required cells, values that are not numbers, unknown units, and a
    number that one table has twice.
    """
    path = Path(path)
    try:
        # Spreadsheets begin files with a mark.
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            header = [*(reader.fieldnames or [])]
            rows = [(reader.line_num, row | {name: row.get(name) or "" for name in OPTIONAL}) for row in reader]
    except FileNotFoundError:
        raise CamstudyError(f"{path}: no such file; correct its name") from None
    except OSError as error:
        raise CamstudyError(f"{path}: cannot be read ({error.strerror}); correct its name") from None
    except csv.Error as error:
        raise CamstudyError(f"{path}: line {reader.reader.line_num} cannot be read as CSV ({error})") from None
    except UnicodeDecodeError as error:
        raise CamstudyError(f"{path}: cannot be read as CSV in UTF-8 ({error})") from None
    if not {*COLUMNS} & {*header}:
        found = ",".join(header)[:80]
        raise CamstudyError(f"{path}: line 1 is `{found}`, expected the names of columns, such as {','.join(COLUMNS)}")
    mistakes = [f"missing column `{name}`" for name in COLUMNS if name not in header]
    known = (*COLUMNS, *OPTIONAL)
    mistakes += [f"column `{name}` twice" for name in COLUMNS if header.count(name) > 1]
    mistakes += [f"unknown column `{name}`{did_you_mean(name, known)}" for name in header if name not in known]
    if not mistakes:
        seen: dict[tuple, int] = {}
        # Lines as an editor counts them; a row whose cells have line breaks is in its last.
        mistakes = [f"line {line}: {text}" for line, row in rows for text in _mistakes(row, line, seen)]
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        raise CamstudyError("\n  ".join([f"{path}: {count} in the published values", *mistakes]))
    table = pd.DataFrame([row for _, row in rows], columns=list(known), dtype=object)
    return table.assign(value=table["value"].astype(float), verified=table["verified"] == "true")


def join_published(
    scores: pd.DataFrame,
    published: pd.DataFrame,
    full_scale: Mapping[str, float] | None = None,
    protocols: Mapping[str, Mapping] | None = None,
) -> pd.DataFrame:
    """Return the long table with what was published for each row, in the columns `JOINED`.

    ``published`` is in the scale of ``mean``; ``difference`` is ``mean`` - ``published``. All four are empty (NaN,
    None) where nothing was published. Rows and their order stay.

    Parameters
    ----------
    scores : long table with the columns dataset, model, method, metric and mean; method is "" without heatmaps
    published : as `read_published` returns it; of several values for one row, the first counts
    full_scale : what 100 % is in ``mean``, by metric, where it is not 1
    protocols : entries of those that the column protocol names; a value that holds under certain settings is joined
        to scores under these alone
    """
    full_scale, protocols = full_scale or {}, protocols or {}
    values: dict[tuple, list] = {}
    for row in published.itertuples():
        if row.catalog_model and (row.catalog_method or not row.method):
            scale = UNITS[row.unit] * (full_scale.get(row.metric, 1.0) if row.unit == "%" else 1.0)
            key = (row.dataset, row.catalog_model, row.catalog_method, row.metric)
            values.setdefault(key, []).append((row.value * scale, row.source, row.verified, _settings(row.protocol)))
    keys = zip(scores["dataset"], scores["model"], scores["method"], scores["metric"], strict=True)
    under = [protocols.get(name, {}) for name in scores["protocol"]] if "protocol" in scores else [{}] * len(scores)
    found = [_holding(values.get(key, ()), entry) for key, entry in zip(keys, under, strict=True)]
    number = pd.Series([value for value, _, _ in found], index=scores.index, dtype=float)
    return scores.assign(
        published=number,
        difference=scores["mean"] - number,
        published_source=pd.Series([source for _, source, _ in found], index=scores.index, dtype=object),
        published_verified=pd.Series([verified for _, _, verified in found], index=scores.index, dtype=object),
    )


def _settings(protocol: str) -> dict[str, str]:
    """Return the settings of a protocol that a cell names: ``ties=reversed;step=1792``."""
    return dict(part.split("=", 1) for part in protocol.split(";")) if protocol else {}


def _holding(values: Sequence[tuple], entry: Mapping) -> tuple:
    """Return value, source and whether it was verified: of the first that holds under a protocol."""
    for *value, settings in values:
        if all(str(entry.get(key)) == wanted for key, wanted in settings.items()):
            return tuple(value)
    return math.nan, None, None


def _mistakes(row: Mapping[str, str], line: int, seen: dict[tuple, int]) -> list[str]:
    if None in row or None in row.values():
        return [f"expected {len(COLUMNS)} cells"]
    found = [f"`{name}` is empty" for name in REQUIRED if not row[name].strip()]
    if row["value"] and not _is_number(row["value"]):
        found.append(f"`value` is `{row['value']}`, expected a finite number; leave out what was not published")
    if row["unit"] and row["unit"] not in UNITS:
        found.append(f"`unit` is `{row['unit']}`, expected one of {', '.join(UNITS)}")
    if row["verified"] and row["verified"] not in ("true", "false"):
        found.append(f"`verified` is `{row['verified']}`, expected true or false")
    if row["catalog_method"] and not row["method"]:
        found.append("`catalog_method` without `method`")
    if row["protocol"] and not all(re.fullmatch(r"\w+=[\w.]+", part) for part in row["protocol"].split(";")):
        found.append(f"`protocol` is `{row['protocol']}`, expected settings such as `ties=reversed;step=1792`")
    key = tuple(row[name] for name in ("table", "dataset", "model", "variant", "method", "metric"))
    if seen.setdefault(key, line) != line:
        found.append(f"the same number as in line {seen[key]}; keep one, or name another `table`")
    return found


def _is_number(text: str) -> bool:
    try:
        return "_" not in text and math.isfinite(float(text))
    except ValueError:
        return False
