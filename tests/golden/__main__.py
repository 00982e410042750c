"""``make revisions``: give every piece of code whose digest is new its revision, by what it computes.

Equal to what the newest revision computed, the digest joins it; different, it begins a new one, and the golden result
is renewed. Then commit `camstudy/core/revisions.json` and `tests/golden/data`.
"""

import argparse
import io
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from camstudy.core.code import TABLE, Code, read_table
from tests.golden.values import Values, differences, named, read

DATA = Path(__file__).with_name("data")
# Of the largest value. Registered things are computed in float64, the study in float32; its training, and ranks of
# values that are nearly equal, follow rounding.
TOLERANCE = {"method": 1e-6, "metric": 1e-9, "variant": 1e-6, "term": 1e-9}
LOOSE = ("train", "score", "family:faithfulness", "family:sanity", "aggregate_steps")
STUDY_TOLERANCE = dict.fromkeys(LOOSE, 1e-3)
# A step that runs what has units of its own: what one of them changed is not the step's doing, nor that of others.
RUNS = {"score": "family"}
# Code without a golden result: what it makes is made again at once.
QUICK = ("table:", "figure:", "make_table", "draw_", "record_study")


class Results:
    """What the code of today computes, by unit; the study is run when one of its units is asked for."""

    def __call__(self, unit: str) -> Values | None:
        """Return the golden values of a unit, None if it has no case."""
        kind, _, name = unit.partition(":")
        if unit.startswith(QUICK):
            return None
        if kind in TOLERANCE:
            from tests.golden.cases import CASES

            return CASES[kind](name)
        return self.study.get(unit)

    @cached_property
    def study(self) -> dict[str, Values]:
        """The results of the scripts, of the sources of datasets, and of families of metrics."""
        from tests.golden import study

        found: dict[str, Values] = {}
        sources, families, printed, step = study.sources(), study.families(), io.StringIO(), None
        with (
            ExitStack() as failed,
            tempfile.TemporaryDirectory() as folder,
            redirect_stdout(printed),
            redirect_stderr(printed),
        ):
            failed.callback(lambda: print(printed.getvalue(), "failed after", step, file=sys.stderr))
            for step in study.run(Path(folder)):
                units = [step.script]
                if step.script.startswith(("prepare_", "make_digits")):
                    units.append(f"source:{sources[step.wildcards['dataset']]}")
                if step.script == "score":
                    units.append(f"family:{families[step.wildcards['protocol']]}")
                if step.script.startswith(QUICK):
                    continue
                # The name of an archive's place follows its address, here of a temporary folder.
                named_by = [value for key, value in step.wildcards.items() if key not in ("study", "archives")]
                place = " ".join(named_by)
                for path in step.outputs:
                    for name, values in read(path):
                        key, numbers = named(f"{place} {path.suffix} {name}", values)
                        for unit in units:
                            found.setdefault(unit, {})[key] = numbers
            failed.pop_all()
        return found


@dataclass
class Report:
    """What became of the units: the lines to print, and whether a revision began."""

    lines: list[str] = field(default_factory=list)
    began: bool = False
    puzzling: bool = False


def tolerance(unit: str) -> float:
    """Return by how much of the largest value the results of a unit may differ and yet be equal."""
    return TOLERANCE.get(unit.partition(":")[0], STUDY_TOLERANCE.get(unit, 1e-4))


def revise(
    table: dict[str, dict[str, int]],
    digests: Mapping[str, str],
    results: Callable[[str], Values | None],
    data: Path,
    forced: Collection[str] = (),
) -> Report:
    """Add the digests that ``table`` does not list, and renew the golden results in the folder ``data``.

    Parameters
    ----------
    table : revision by digest by unit; changed in place
    digests : of all units, as the code is today
    results : returns what a unit computes today, None if it has no golden case
    data : the folder of golden results
    forced : units that begin a new revision whatever they compute
    """
    report, theirs = Report(), defaultdict(set)
    for unit, digest in digests.items():
        known = table.setdefault(unit, {})
        if digest in known and unit not in forced:
            continue
        newest, golden = max(known.values(), default=0), _path(data, unit)
        found = results(unit)
        changed = [] if found is None or not golden.exists() else differences(_load(golden), found, tolerance(unit))
        theirs[unit.partition(":")[0]].update(changed)
        changed = [name for name in changed if name not in theirs[RUNS.get(unit)]]
        if newest and not changed and golden.exists() and found is not None and unit not in forced:
            known[digest] = newest
            report.lines.append(f"{unit}: equal, joins revision {newest}")
            continue
        known[digest] = newest + 1
        report.began |= newest > 0
        why = f"differs in {', '.join(changed[:3])}" if changed else "has no golden result" if found is None else "new"
        report.lines.append(f"{unit}: {why}, begins revision {newest + 1}")
        if found is not None:
            _save(golden, found)
    for unit in table.keys() - digests.keys():
        del table[unit]
        report.lines.append(f"{unit}: is no more")
    return report


def renew(digests: Mapping[str, str], study: Mapping[str, Values], data: Path, report: Report) -> None:
    """Compare the study's results of code that did not change, and renew those that changed with code before them.

    Where there was no golden result, or one of fewer cases that are all equal, the code stays what it is.
    """
    for unit, found in study.items():
        golden = _path(data, unit)
        before = _load(golden) if golden.exists() else {}
        if unit in digests and (differing := differences(before, found, tolerance(unit))):
            if before.keys().isdisjoint(differing):
                _save(golden, found)
                report.lines.append(f"{unit}: golden result of more cases; those before are equal")
            elif report.began:
                _save(golden, found)
                report.lines.append(f"{unit}: golden result renewed, as code before it has a new revision")
            else:
                report.puzzling = True
                report.lines.append(f"{unit}: differs from its golden result, but its code is known: other libraries?")


def _path(data: Path, unit: str) -> Path:
    return data / f"{unit.replace(':', '-')}.npz"


def _load(path: Path) -> Values:
    with np.load(path) as file:
        return dict(file)


def _save(path: Path, values: Values) -> None:
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **values)


def _write(table: Mapping[str, Mapping[str, int]]) -> None:
    ordered = {unit: dict(sorted(table[unit].items(), key=lambda item: item[::-1])) for unit in sorted(table)}
    TABLE.write_text(json.dumps(ordered, indent=1) + "\n")


def main() -> int:
    """Revise the table; return 1 if something is strange."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("--new", nargs="+", default=[], metavar="UNIT", help="begin a new revision of these, anyway")
    parser.add_argument("--fresh", action="store_true", help="forget all revisions and golden results, begin with 1")
    parser.add_argument("--check", action="store_true", help="compare all results, also those of code that is known")
    asked = parser.parse_args()
    code, results = Code(), Results()
    digests = {unit: code.digest(root) for unit, root in code.units.items()}
    if unknown := set(asked.new) - digests.keys():
        parser.error(f"no such unit: {', '.join(unknown)}")
    table = {} if asked.fresh else read_table()
    if asked.fresh:
        for path in DATA.glob("*.npz"):
            path.unlink()
    report = revise(table, digests, results, DATA, asked.new)
    if asked.check:
        cases = {unit: results(unit) for unit in digests if unit.partition(":")[0] in TOLERANCE}
        renew(digests, {unit: found for unit, found in cases.items() if found is not None}, DATA, report)
    if asked.check or report.began or "study" in vars(results):
        renew(digests, results.study, DATA, report)
    _write(table)
    print("\n".join(report.lines or ["all code is of a known revision"]))
    return int(report.puzzling)


if __name__ == "__main__":
    sys.exit(main())
