"""What takes how much room in results/, and which studies use it, as the configurations beside their results say."""

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from camstudy.core.errors import CamstudyError
from camstudy.pipeline.disk import amount
from camstudy.pipeline.paths import RESULTS
from camstudy.pipeline.results import Nameless, results

if TYPE_CHECKING:
    from camstudy.study.study import Study

SHARED = ("raw", "data", "weights", "models", "heatmaps", "scores", "cost")
RUN = ".run.json"


@dataclass
class Room:
    """What belongs to one record: its files and folders, their size in bytes, and the studies that use it."""

    record: str
    places: list[Path]
    size: int
    studies: list[str] = field(default_factory=list)


def rooms(used: Callable[[Path], Iterable[str]]) -> list[Room]:
    """Return the rooms of all shared results, each with the studies that use it.

    ``used`` returns the paths of the records that a study is made from, given the configuration beside its results.
    """
    users: dict[str, list[str]] = {}
    for config in sorted(Path(RESULTS, "studies").glob("*/config.yaml")):
        for path in dict.fromkeys(used(config)):
            users.setdefault(path, []).append(config.parent.name)
    found = []
    for record in _records():
        places = _places(record)
        found.append(Room(str(record), places, sum(map(_size, places)), users.get(str(record), [])))
    return found


def table(found: Iterable[Room]) -> str:
    """Return the rooms as text, the largest first: those of a data set or a model together."""
    groups: dict[tuple[str, tuple[str, ...]], int] = {}
    for room in found:
        key = "/".join(Path(room.record).with_suffix("").parts[1:3]), tuple(room.studies)
        groups[key] = groups.get(key, 0) + room.size
    if not groups:
        return f"{RESULTS}/ has no results"
    lines = [
        (amount(size), name, ", ".join(studies) or "no study")
        for (name, studies), size in sorted(groups.items(), key=lambda item: (-item[1], item[0]))
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    text = [f"{size:>{widths[0]}}  {name:<{widths[1]}}  {studies}" for size, name, studies in lines]
    return "\n".join([*text, f"{amount(sum(groups.values())):>{widths[0]}}  in all"])


def remove(found: Iterable[Room]) -> None:
    """Delete what belongs to records, the record itself first: what is left of one that is cut off is no result."""
    for room in found:
        for place in sorted(room.places, key=lambda place: place.suffix != ".json"):
            if place.is_dir() and not place.is_symlink():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)


def _records() -> Iterator[Path]:
    for kind in SHARED:
        for path in sorted(Path(RESULTS, kind).glob("**/*.json")):
            # Not the metadata of arrays within stores.
            inside = any(part.endswith(".zarr") for part in path.parts)
            # Nor that of a network which the record of its model stands for.
            checked = path.name == "check.json" and path.with_name("model.json").is_file()
            if not (inside or checked or path.name.endswith((RUN, ".listing.json"))):
                yield path


def _places(record: Path) -> list[Path]:
    """Return what lies beside a record under its name; all of the folder of a model."""
    if record.name == "model.json":
        return sorted(record.parent.iterdir())
    # A method in parts is a folder of the method's name, whose parts are records of their own. As names may have dots,
    # what begins with the name of another record, too, belongs to the longer one.
    others = {path.stem for path in record.parent.glob("*.json") if path.stem.startswith(f"{record.stem}.")}
    longer = tuple(f"{name}." for name in others if not name.endswith((".run", ".listing")))
    places = (place for place in sorted(record.parent.iterdir()) if place.name.startswith(f"{record.stem}."))
    return [place for place in places if not place.name.startswith(longer)]


def _size(place: Path) -> int:
    try:
        inside = place.rglob("*") if place.is_dir() else [place]
        return sum(path.stat().st_size for path in inside if path.is_file())
    except OSError as error:
        raise CamstudyError(f"{place}: cannot be read ({error.strerror}); check its permissions") from None


def records_of(config: Path, folder: Path) -> list[str]:
    """Return the paths of the records that a finished study is made from, by the configuration beside its results.

    ``folder`` is the workflow's. Raises `CamstudyError`, which names the file, where it is not one of this version.
    """
    return [path for path, _ in results(finished_study(config, folder), Nameless())]


def finished_study(config: Path, folder: Path) -> "Study":
    """Return a study as the configuration beside its results says it; arguments and errors as for `records_of`."""
    from camstudy.pipeline.head import identified, registered
    from camstudy.study.checks import validate
    from camstudy.study.plugins import add_plugins
    from camstudy.study.written import Written

    content = Written(config).content
    try:
        add_plugins(content, [config])
        study, *_ = identified(validate(content, registered(folder), check_files=False))
    except CamstudyError as error:
        text = f"{config}: cannot tell what the study uses; run it again, or delete {config.parent}"
        raise CamstudyError(f"{text} ({error})") from None
    return study
