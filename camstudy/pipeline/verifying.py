"""Reading all that a study rests on: which of its results are not what was written."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from camstudy.core import chunks
from camstudy.core.errors import CamstudyError, Damaged
from camstudy.core.provenance import read_json, stated_files, verify
from camstudy.core.store import open_store, store_path


def damages(records: Iterable[str | Path]) -> Iterator[Damaged]:
    """Yield what is damaged of the results of these records and of what lies beside them; all of it is read.

    Passed over are what is not made yet, and what no record tells of: a study's tables and figures.
    """
    for record in map(Path, records):
        if record.suffix != ".json" or not record.is_file():
            continue
        try:
            content = read_json(record)
        except Damaged as error:
            yield error
            continue
        found = _of_store(record, content) if "store" in content else _of_files(record, content)
        yield from found


def records_of_tables(study: str) -> list[Path]:
    """Return the records of a study's own long tables."""
    return [table.with_suffix(".json") for table in sorted(Path("results", "studies", study).glob("*.parquet"))]


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
