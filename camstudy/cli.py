"""The command `camstudy`: runs, plans and reports studies; each subcommand says which command of Snakemake it runs."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from camstudy.core.errors import CamstudyError, did_you_mean, unknown
from camstudy.pipeline.disk import amount, check_room, told
from camstudy.study.written import Written

ROOT = Path(__file__).parents[1]  # of the workflow, which an installation points to
STUDIES = ROOT / "config" / "studies"
DEFAULT = "config/config.yaml"
STUDY = f"a study file, or the name of one that ships; {DEFAULT} without"
EXACT = {"allow_abbrev": False}  # what is not ours is Snakemake's
_KEY = re.compile(r"[a-zA-Z_][\w-]*\w")  # of --config, as Snakemake wants it


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns the status to exit with. A user's mistake is a line on the terminal."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    end = given.index("--") if "--" in given else len(given)
    parser = _parser()
    asked, others = parser.parse_known_args(given[:end])
    others += given[end + 1 :]
    if others and not asked.takes_more:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    try:
        with told():
            return asked.function(asked, others)
    except CamstudyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="camstudy", description="Saliency-map studies as a Snakemake workflow.", **EXACT
    )
    commands = parser.add_subparsers(metavar="command", required=True)
    for name, function, text in (
        ("run", _run, "run a study: tables, figures and all that they are made from"),
        ("plan", _plan, "say what a study would cost, before anything runs"),
        ("report", _report, "write a finished study's report, an HTML page"),
    ):
        command = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}. Options after the study are Snakemake's.",
            **EXACT,
        )
        command.add_argument("study", nargs="?", help=STUDY)
        command.add_argument("--profile", help="of Snakemake: `slurm` for a cluster; profiles/local without")
        command.add_argument("--cores", default=None, help="CPU cores to use at once; all of them without")
        command.add_argument(
            "--configfile", nargs="+", action="extend", default=[], help="files that are laid over the study, in turn"
        )
        command.add_argument(
            "--config", nargs="*", action="extend", default=[], help="KEY=VALUE: keys at the top of the study"
        )
        command.set_defaults(function=function, takes_more=True)
    command = commands.add_parser("results", help="list what takes how much room, and which studies use it", **EXACT)
    command.add_argument("--remove", action="store_true", help="delete what no study uses, after asking")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.set_defaults(function=_results, takes_more=False)
    command = commands.add_parser(
        "verify", help="read all that a study rests on; what is damaged is set aside", **EXACT
    )
    command.add_argument("study", nargs="?", help=STUDY)
    command.set_defaults(function=_verify, takes_more=False)
    command = commands.add_parser("bundle", help="pack a finished study for a paper's supplement", **EXACT)
    command.add_argument("study", nargs="?", help=STUDY)
    command.add_argument("--output", type=Path, help="the archive; {study}.zip without")
    command.set_defaults(function=_bundle, takes_more=False)
    return parser


def _run(asked: argparse.Namespace, others: list[str]) -> int:
    check_room()
    return _call([*_snakemake(asked), *others], check=others)


def _plan(asked: argparse.Namespace, others: list[str]) -> int:
    check_room()
    return _call([*_snakemake(asked, cores="1"), *others, "--", "plan"], check=others)


def _report(asked: argparse.Namespace, others: list[str]) -> int:
    _, config = _finished(asked.study or next(iter(asked.configfile), None), asked.config)
    command = [*_snakemake(asked, cores="1"), *others]
    from camstudy.pipeline.rooms import finished_study
    from camstudy.report import page
    from camstudy.report.contents import answer, contents

    study, folder = finished_study(config, ROOT), config.parent
    found, first = answer(study), folder / page.SUMMARY
    # What Snakemake's report begins with; later, without this command, it could be of other results.
    page.write(page.summary(study.name, found), first)
    try:
        shown = ["--report-stylesheet", str(page.STYLE), "--report", str(folder / page.WORKFLOW)]
        (folder / page.WORKFLOW).parent.mkdir(exist_ok=True)
        status = _call([*command, *shown], check=others, quiet=True)
    finally:
        first.unlink()
    if status:
        raise CamstudyError("Snakemake makes no report of this study, for what it says above")
    page.write(page.page(contents(study, ROOT)), folder / page.PAGE)
    print(f"report   {folder / page.PAGE}")
    print(*[found.tally] if found.tally else [], *found.sentences if study.config["primary"] else [], sep="\n")
    return 0


def _results(asked: argparse.Namespace, _: list[str]) -> int:
    from camstudy.pipeline.rooms import records_of, remove, rooms, table

    found = rooms(lambda config: records_of(config, ROOT))
    unused = [room for room in found if not room.studies]
    print(table(found))
    if not asked.remove or not unused:
        return 0
    print(*(f"  {room.record}" for room in unused), sep="\n")
    size = amount(sum(room.size for room in unused))
    question = f"Delete these results ({len(unused)}, {size}), which no study uses?"
    if not asked.yes and input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
        print("Nothing was deleted.")
        return 1
    remove(unused)
    print(f"Results deleted: {len(unused)}.")
    return 0


def _verify(asked: argparse.Namespace, _: list[str]) -> int:
    from camstudy.core.damage import set_aside
    from camstudy.core.provenance import run_record_path
    from camstudy.pipeline.rooms import records_of
    from camstudy.pipeline.verifying import damages, records_of_study

    name, config = _finished(asked.study)
    count = 0
    # Of the configuration itself: what else there is to read, it says.
    for error in damages([run_record_path(config)]):
        print(set_aside(error), file=sys.stderr)
        count += 1
    if not config.is_file():
        print(f"{count} damaged; `camstudy run` makes it anew, and `camstudy verify` can read the rest then")
        return 1
    # Those that results are made from come first, and one that is set aside is read no more.
    records = [*records_of(config, ROOT), *records_of_study(name)]
    for error in damages(dict.fromkeys(records)):
        print(set_aside(error), file=sys.stderr)
        count += 1
    whole = f"all {len(records)} results that `{name}` rests on are as they were written"
    print(f"{count} damaged; `camstudy run` makes them anew" if count else whole)
    return 1 if count else 0


def _finished(study: str | None, pairs: Sequence[str] = ()) -> tuple[str, Path]:
    """Return a study's name and the configuration beside its results; `CamstudyError` if it has not run.

    ``pairs`` are keys of the study as the command line sets them: a trial has a name of its own.
    """
    content = Written(find_study(study)).content | dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    name = str(content.get("study"))
    trial = f"{name}-n{content.get('n_images')}"
    name = trial if Path("results", "studies", trial).is_dir() else name
    config = Path("results", "studies", name, "config.yaml")
    if not config.is_file():
        raise CamstudyError(f"no {config} in {Path.cwd()}; run the study first (`camstudy run`)")
    return name, config


def _bundle(asked: argparse.Namespace, _: list[str]) -> int:
    from camstudy.pipeline.bundle import bundle
    from camstudy.pipeline.rooms import finished_study, records_of
    from camstudy.report import page
    from camstudy.report.contents import contents

    name, config = _finished(asked.study)
    target = asked.output or Path(f"{name}.zip")
    # Of these very tables; the page in results/ may be of an earlier run, or not there.
    shown = page.page(contents(finished_study(config, ROOT), ROOT), alone=True)
    count = bundle(name, records_of(config, ROOT), ROOT / "requirements.lock", target, {page.PAGE: shown})
    print(f"{target}: {count} files")
    return 0


def find_study(name: str | None) -> Path:
    """Return the file of a study: the path itself, or that of a study that ships, by its name.

    Raises
    ------
    CamstudyError
        where there is none, with the nearest name, or where the file is no YAML.
    """
    path = Path(name or DEFAULT)
    if not path.exists() and name is not None and path.name == name:
        known = {"demo": ROOT / DEFAULT} | {file.stem: file for file in sorted(STUDIES.glob("*.yaml"))}
        stem = name.removesuffix(".yaml")
        if stem not in known and path.suffix:
            text = f"{name}: no such file in {Path.cwd()}; correct the path, or name a study that ships"
            here = [str(file) for file in Path().glob("*.y*ml")]
            raise CamstudyError(f"{text}{did_you_mean(name, here) if here else did_you_mean(stem, known)}")
        if stem not in known:
            raise unknown("study", name, known)
        path = known[stem]
    if not path.exists() and name is None and (ROOT / DEFAULT).exists():
        raise CamstudyError(f"no {DEFAULT} in {Path.cwd()}; name a study file, or work in {ROOT}")
    _read(path)
    return path


def _read(path: str | Path) -> None:
    """Raise `CamstudyError` for a file of which Snakemake would say less."""
    if not Written(path).content:
        raise CamstudyError(
            f"{path}: is empty, expected keys with values, as `study: x`; write a study, or name another"
        )


def _snakemake(asked: argparse.Namespace, cores: str = "all") -> list[str]:
    """Return the command of Snakemake for a study, without targets."""
    _check_pairs(asked.config)
    path = find_study(asked.study or next(iter(asked.configfile), None))
    for file in asked.configfile:
        _read(file)
    here = Path.cwd() == ROOT
    command = ["snakemake"] if here else ["snakemake", "--snakefile", str(ROOT / "Snakefile")]
    profile = asked.profile or (Path("profiles/local") if here else ROOT / "profiles" / "local")
    if asked.profile == "slurm" and not here:
        profile = ROOT / "profiles" / "slurm"
    if Path(profile).name == "slurm" and shutil.which("sbatch") is None:
        raise CamstudyError(
            "`--profile slurm` submits jobs with `sbatch`, which is not in reach here; log in to a submit node of the "
            "cluster, load its module of SLURM, or leave the profile out to run on this machine"
        )
    # Not at the end, where they would take targets for files.
    files = [] if asked.study is None and asked.configfile else [path]
    files = [str(file) for file in [*files, *asked.configfile]]
    command += ["--configfile", *files] if asked.study or asked.configfile else []
    command += ["--config", *asked.config] if asked.config else []
    command += ["--profile", str(profile)]
    return [*command, "--cores", asked.cores or cores] if asked.cores or asked.profile is None else command


def _check_pairs(pairs: Sequence[str]) -> None:
    """Raise `CamstudyError` for what Snakemake takes for no KEY=VALUE, with a traceback of its own."""
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise CamstudyError(f"--config {pair}: found no `=`; write `--config {key}=VALUE`")
        if "." in key:
            first, *inner = key.split(".")
            for name in reversed(inner):
                value = f"{{{name}: {value}}}"
            raise CamstudyError(
                f"--config {pair}: found a key within `{first}`, and only keys at the top can be set here; write "
                f"`{first}: {value}` into the study, or into a file of its own that `--configfile` adds"
            )
        if not _KEY.fullmatch(key):
            raise CamstudyError(f"--config {pair}: found `{key}`, expected a key of the study (docs/configuration.md)")


def _check_options(command: Sequence[str]) -> None:
    """Raise `CamstudyError` for what Snakemake does not understand, which it would tell below a page of its options."""
    from snakemake.cli import get_argument_parser

    parser = get_argument_parser()

    def refuse(message: str) -> NoReturn:
        wrong = [text for text in message.split(": ", 1)[-1].split() if text.startswith("--")]
        near = did_you_mean(wrong[0], parser._option_string_actions) if "unrecognized" in message and wrong else ""
        near = near if near.startswith(", did") else "; `snakemake --help` lists all"
        raise CamstudyError(f"Snakemake's options: {message}{near}")

    parser.error = refuse
    try:
        parser.parse_args(command[1:])
    except ValueError as error:  # of what an option's value is made of
        refuse(str(error))


def _call(command: list[str], check: Sequence[str], *, quiet: bool = False) -> int:
    """Run a command of the environment that this process belongs to, after saying it; return its status.

    ``check`` is a user's part of it. What a ``quiet`` one prints is shown if it fails.
    """
    if any(word.startswith("-") for word in check):
        _check_options(command)
    found = Path(sys.executable).with_name(command[0])
    if shutil.which(command[0]) is None:
        print(f"$ source {shlex.quote(str(found.parent / 'activate'))}", flush=True)
    print(f"$ {shlex.join(command)}", flush=True)
    # Jobs start Python and Snakemake by name.
    path = os.pathsep.join([str(found.parent), os.environ.get("PATH", "")])
    # Ctrl-C reaches Snakemake, too, which cancels its jobs and unlocks the directory. Where it reached this process,
    # `subprocess.run` would kill Snakemake a quarter of a second later.
    former = signal.getsignal(signal.SIGINT)
    if former is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: None)
    try:
        hidden = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} if quiet else {}
        done = subprocess.run(command, executable=found, env=os.environ | {"PATH": path}, **hidden)
    finally:
        signal.signal(signal.SIGINT, former)
    if quiet and done.returncode:
        print(done.stdout.rstrip(), file=sys.stderr)
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())
