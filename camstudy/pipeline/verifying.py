"""Reading all that a study rests on: which of its results are not what was written."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from camstudy.core import chunks
from camstudy.core.errors import CamstudyError, Damaged
from camstudy.core.identity import digest
from camstudy.core.ledger import table_of
from camstudy.core.provenance import read_json, stated_files, verify
from camstudy.core.store import open_store, store_path


def damages(records: Iterable[str | Path]) -> Iterator[Damaged]:
    """Yield what is damaged of the results of these records and of what lies beside them; all of it is read.

    Passed over is what is not made yet.
    """
    for record in map(Path, records):
        if record.suffix != ".json" or not os.path.lexists(record):
            continue
        try:
            content = read_json(record)
            if not isinstance(content.get("identity"), str):
                raise Damaged(f"{record}: does not say what it is a record of", record)
            found = _of_store(record, content) if "store" in content else _of_files(record, content)
            # All of a record's before any is set aside, the record with it.
            yield from [*found, *_of_table(record, content)]
        except Damaged as error:
            yield error


def records_of_study(study: str) -> list[Path]:
    """Return the records of a study's own long tables, and those of the runs that made what there is to read."""
    folder = Path("results", "studies", study)
    tables = [table.with_suffix(".json") for table in sorted(folder.glob("*.parquet"))]
    return [*tables, *(run for kind in ("", "tables", "figures") for run in sorted((folder / kind).glob("*.run.json")))]


def _of_table(record: Path, content: dict) -> Iterator[Damaged]:
    """Look for the table of files from outside, without which no change of theirs would be noticed."""
    table = table_of(record)
    if _is_from_outside(content) and not table.is_file():
        there = [table] if os.path.lexists(table) else []
        yield Damaged(f"{table}: the list of the files that {record} was made from is gone", record, *there)


def _is_from_outside(content: dict) -> bool:
    """Whether files that the workflow neither made nor fetched were read: of a dataset, control maps or weights."""
    identity = content["identity"]
    if "store" not in content:
        return f"source={digest('file')}" in identity.split()
    # Of shards that the workflow made, their records tell.
    prepared = content.get("content") and " shards=" not in identity
    return bool(prepared) or re.search(r"(^| )code=(\S*,)?files:", identity) is not None


def _of_files(record: Path, content: dict) -> Iterator[Damaged]:
    for file in stated_files(content, record):
        try:
            verify(file, record)
        except Damaged as error:
            yield error


def _of_store(manifest: Path, content: dict) -> Iterator[Damaged]:
    path = store_path(manifest)
    try:
        store = open_store(manifest)
        sums = chunks.read_sums(path, content.get("sums"), manifest)
    except Damaged as error:
        yield error
        return
    except CamstudyError as error:
        # Of an earlier format, say.
        yield Damaged(str(error), manifest)
        return
    for name, array in store.items():
        for number in chunks.unsound_chunks(path, name, array.zarr, sums):
            file = f"{name}/{chunks.key(array.zarr, number)}"
            yield Damaged(f"{path}: chunk {file.partition('/')[2]} of array `{name}` is damaged", manifest, path / file)
