"""A study packed for a paper's supplement: its tables, figures and report, and where every number came from."""

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import run_record_path
from camstudy.pipeline.paths import RESULTS

# The earliest time that a zip archive can state: the same study makes the same archive.
EPOCH = (1980, 1, 1, 0, 0, 0)
README = """\
{study}, a study made with camstudy

config.yaml            the configuration with every default
tables/, figures/      as published
report/index.html      all of it on a page: question, answer, tables, figures, and what they rest on
*.parquet              the long tables that they are made from
manifests/             for every result behind them: its identity, checksums and library versions, and its run
requirements.lock      the versions of all libraries

To make it again: install requirements.lock, then `camstudy run config.yaml` in a copy of camstudy.
"""


def bundle(study: str, records: Iterable[str], lock: Path, target: Path, pages: Mapping[str, str]) -> int:
    """Write a zip archive of a finished study; return the number of files in it.

    Parameters
    ----------
    study : name of its folder in results/studies
    records : paths of the records that it is made from
    lock : file of the libraries' versions
    target : the archive, which is replaced
    pages : what is written for the archive, by place in the study's folder; its `report/` is left out

    Raises `CamstudyError` if the study has no tables or figures yet, or the file of versions or the archive's folder is
    not there.
    """
    if target.is_dir() or not target.parent.is_dir():
        found = "is a folder" if target.is_dir() else f"there is no folder {target.parent}"
        raise CamstudyError(f"--output {target}: {found}; name an archive to write, such as {study}.zip")
    if not lock.is_file():
        raise CamstudyError(f"{lock}: no such file, and a bundle says by which versions it was made; restore it")
    folder = Path(RESULTS, "studies", study)
    own = [path for path in sorted(folder.rglob("*")) if path.is_file() and "report" not in path.parts]
    if not any(path.parent.name in ("tables", "figures") for path in own):
        raise CamstudyError(f"{folder}: has no tables or figures yet; run the study first")
    files = {str(path.relative_to(folder)): path for path in own}
    behind = [path for record in records for path in (Path(record), run_record_path(record))]
    shared = [path for path in behind if folder not in path.parents and path.is_file()]
    files |= {str(Path("manifests", path.relative_to(RESULTS))): path for path in shared}
    files["requirements.lock"] = lock
    texts = {"README": README.format(study=study), **pages}
    partial = target.with_name(f".{target.name}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in sorted(texts.items()):
            _add(archive, f"{study}/{name}", text.encode())
        for name, path in sorted(files.items()):
            _add(archive, f"{study}/{name}", path.read_bytes())
    partial.replace(target)
    return len(files) + len(texts)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
