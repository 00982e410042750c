"""Files from outside a study's results, as its identities state them: by content where it is known, else by address."""

from collections.abc import Iterator, Mapping

from camstudy.core import addresses
from camstudy.core.code import own_digest
from camstudy.core.errors import CamstudyError
from camstudy.core.identity import digest, parts
from camstudy.core.ledger import accepted, listed, outside, read_header, refresh, split, table_of
from camstudy.core.names import CONTROL
from camstudy.core.paths import expanded
from camstudy.core.provenance import read_json, sha256_file
from camstudy.data.sources import SOURCES
from camstudy.pipeline import paths
from camstudy.study.study import Study, is_photographs


class Sources:
    """What is known of the files that a study takes from outside, at planning; none of them needs to be there."""

    def __init__(self, study: Study) -> None:
        self.study = study

    def dataset(self, name: str) -> str:
        """Return what stands for the content of the files that a dataset is prepared from; the workflow's own apart."""
        entry = self.study.catalog["datasets"][name]
        table = table_of(paths.dataset(name))
        if is_photographs(entry):
            self._split(name)
            return outside(table, paths.root(entry))
        return "" if self.study.shard_numbers(name) else listed(table, entry["shards"])

    def fixations(self, name: str) -> str:
        """Return what stands for files that say where people looked, where they are not those of the prepared dataset.

        Nothing where they are the same; but once the fixations were prepared on their own, they stay so.
        """
        entry, path = self.study.catalog["datasets"][name], paths.fixations(name)
        if not SOURCES[entry["source"]].looks(entry):
            return ""
        self._split(name)
        header, record = read_header(table_of(path)), _record(path)
        if header is None:
            return ""
        seen = refresh(table_of(path), paths.root(entry))
        if seen is None and record is not None:
            return parts(record["identity"])["content"]
        return header["accepted"] if seen in (None, header["content"]) and record is None else str(seen)

    def _split(self, name: str) -> None:
        """Tell files that say where people looked from others, in what an earlier version has noted of them."""
        entry, table = self.study.catalog["datasets"][name], table_of(paths.dataset(name))
        source, own = SOURCES[entry["source"]], table_of(paths.fixations(name))
        if source.looks(entry) and table.exists() and not own.exists():
            refresh(table, paths.root(entry))
            split(table, own, source.looks(entry), names_count=source.names_count)

    def maps(self, dataset: str, method: str) -> str:
        """Return what stands for the content of the files that a control's maps are read from."""
        path = self.study.catalog["methods"][method]["parameters"].get("path", ".")
        return outside(table_of(paths.heatmaps(dataset, CONTROL, method)), expanded(str(path)))

    def shard(self, dataset: str, number: int) -> tuple[str, str]:
        """Return the address of a shard that is downloaded, and what stands for the checksum that the user stated."""
        stated = self.study.catalog["datasets"][dataset]["shards"]
        pins = stated["sha256"] or []
        pin = pins[number] if number < len(pins) else None
        address = addresses.identity(stated["url"].replace("{i}", str(number)))
        return address, accepted(pin, _record(paths.shard(dataset, number)))

    def archive(self, place: str, file: str) -> str:
        """Return what stands for the checksum that an archive must have."""
        return accepted(self.study.archives[place][file].archive.sha256, _record(paths.archive(place, file)))

    def weights(self, model: str) -> tuple[str, str]:
        """Return where a model's weights come from, and what stands for their content or the checksum stated."""
        entry = self.study.catalog["models"][model]
        weights, path = entry["weights"], paths.weights(model)
        record = _record(path)
        # A checksum that the file does not have is a reason to look at it again, which then fails.
        stated = accepted(weights.get("sha256"), record)
        if "path" not in weights:
            return addresses.identity(weights["url"]) if weights.get("url") else f"timm {entry['arch']}", stated
        if record is not None and stated != record["accepted"]:
            return "file", stated
        return "file", listed(table_of(path), [expanded(weights["path"])])

    def published(self) -> str:
        """Return what stands for the file of published values."""
        path = self.study.config["published"]
        return sha256_file(path) if path else ""

    def own_code(self, entry: Mapping) -> str:
        """Return the digest of the user's own code that a model's entry names; nothing for installed packages."""
        found = {path: own_digest(path) for path in {*_imports(entry["kwargs"]), entry["arch"]} if "." in path}
        own = {path: text for path, text in found.items() if text}
        return digest(own) if own else ""


def _imports(value: object) -> Iterator[str]:
    """Yield the import paths in keyword arguments."""
    if isinstance(value, str) and value.startswith("import:"):
        yield value.removeprefix("import:")
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _imports(item)
    elif isinstance(value, list):
        for item in value:
            yield from _imports(item)


def _record(path: str) -> Mapping | None:
    """Return a record; None where there is none, or one that is damaged and will be made anew."""
    try:
        return read_json(path)
    except CamstudyError:
        return None
