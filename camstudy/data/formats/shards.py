"""Shards and what is known of them: the record beside one that the workflow made, or the content of a user's own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from camstudy.core import ledger
from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import fingerprint, read_json, sha256_file, verify


@dataclass(frozen=True)
class Noted:
    """Shards before they are read: sha256 (hex) by path, in their order, and sizes and times of a user's own."""

    hashes: Mapping[str, str]
    stats: Mapping[str, ledger.Stat]

    @property
    def digest(self) -> str:
        """What stands for all of them, in their order: 16 hexadecimal digits."""
        return fingerprint(shards=[*self.hashes.values()])[:16]

    def record(self, table: str | Path, text: str) -> str:
        """Write the table of a user's own shards, as `camstudy.core.ledger.record`; return what stands for all."""
        if self.stats:
            ledger.record(table, self.stats, self.hashes, places=[*self.stats], text=text)
        return self.digest


def record_of(shard: str | Path) -> Path:
    """Return the path of the record beside a shard that the workflow made."""
    return Path(shard).with_suffix(".json")


def note_shards(shards: Sequence[str], records: Sequence[str] | None = None) -> Noted:
    """Return what is known of shards; a user's own, which have no records, are read for it.

    Raises `CamstudyError` if a shard is not there.
    """
    missing = [shard for shard in shards if not Path(shard).is_file()]
    if missing:
        remedy = "delete the record beside it and run again" if records else "put it there, or correct `shards`"
        raise CamstudyError(f"{missing[0]}: no such shard ({len(missing)} are missing); {remedy}")
    if records:
        return Noted({shard: read_json(record_of(verify(shard, record_of(shard))))["sha256"] for shard in shards}, {})
    stats = ledger.survey(".", shards)
    return Noted({shard: sha256_file(shard) for shard in shards}, stats)
