import json
import os
import signal
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from camstudy import cli
from camstudy.core.errors import CamstudyError
from camstudy.core.provenance import sha256_file, write_json
from camstudy.pipeline import bundle, rooms


@pytest.fixture
def called(monkeypatch):
    """The commands that are run, none of which is."""
    commands = []

    def run(command, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0)

    # Of this module alone: libraries that are imported meanwhile run commands, too.
    monkeypatch.setattr(cli, "subprocess", SimpleNamespace(run=run))
    monkeypatch.chdir(cli.ROOT)
    return commands


LOCAL = ["--profile", "profiles/local"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run"], [*LOCAL, "--cores", "all"]),
        (["run", "--cores", "2", "-n"], [*LOCAL, "--cores", "2", "-n"]),
        (["run", "config/config.yaml"], ["--configfile", "config/config.yaml", *LOCAL, "--cores", "all"]),
        (["plan"], [*LOCAL, "--cores", "1", "--", "plan"]),
        (["run", "--", "--forcerun", "train"], [*LOCAL, "--cores", "all", "--forcerun", "train"]),
    ],
)
def test_the_command_of_snakemake(called, capsys, arguments, expected):
    assert cli.main(arguments) == 0
    (command,) = called
    assert command[0] == "snakemake"
    assert command[1:][: len(expected)] == expected
    assert f"$ {' '.join(command)}" in capsys.readouterr().out


def test_studies_that_ship_go_by_their_name(called):
    assert cli.main(["run", "opticam_demo", "-n"]) == 0
    assert called[0][1:3] == ["--configfile", str(cli.STUDIES / "opticam_demo.yaml")]


def test_elsewhere_the_workflow_is_named(called, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("study: mine\n")
    assert cli.main(["run", "mine.yaml"]) == 0
    assert called[0][:5] == ["snakemake", "--snakefile", str(cli.ROOT / "Snakefile"), "--configfile", "mine.yaml"]
    assert str(cli.ROOT / "profiles/local") in called[0]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["run", "opticam_dem"], "error: unknown study `opticam_dem`, did you mean `opticam_demo`?"),
        (["run", "nowhere/mine.yaml"], "error: nowhere/mine.yaml: no such file in "),
        (["plan", "demmo"], "error: unknown study `demmo`, did you mean `demo`?"),
        (["run", "twice.yml"], "correct the path, or name a study that ships, did you mean `twice.yaml`?"),
        (["plan", "twice.yaml"], "twice.yaml, line 2: the key `study` stands in line 1, too"),
        (["run", "--profile", "slurm"], "`sbatch`, which is not in reach here"),
        (["bundle"], "error: no config/config.yaml in "),
    ],
)
def test_mistakes_are_a_line_each(called, capsys, tmp_path, monkeypatch, arguments, text):
    if "slurm" not in arguments:
        monkeypatch.chdir(tmp_path)
    (tmp_path / "twice.yaml").write_text("study: a\nstudy: b\n")
    monkeypatch.setattr(cli.shutil, "which", lambda name: None)
    assert cli.main(arguments) == 1
    assert not called
    found = capsys.readouterr().err
    assert text in found
    assert found.count("\n") == 1


def test_unknown_options_of_our_own_are_refused(called, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["results", "--remov"])
    assert error.value.code == 2
    assert "unrecognized arguments: --remov" in capsys.readouterr().err


def test_an_interrupted_snakemake_ends_by_itself(tmp_path):
    """It needs longer than the quarter of a second after which `subprocess.run` would kill it."""
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\ntrap 'sleep 0.5; echo ended; exit 7' INT\necho started\nwhile :; do sleep 0.05; done\n")
    slow.chmod(0o755)
    code = f"sys.executable = {str(tmp_path / 'python')!r}; raise SystemExit(cli._call(['slow'], []))"
    command = [sys.executable, "-c", f"import sys; from camstudy import cli; {code}"]
    # Interrupts are ignored by what a shell starts in its background.
    listen = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    where = {"cwd": cli.ROOT, "start_new_session": True, "preexec_fn": listen}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **where) as process:
        while process.stdout.readline().strip() != "started":
            assert process.poll() is None, process.stderr.read()
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == ("ended\n", "", 7)


@pytest.mark.parametrize("status", [0, 3])
def test_what_a_quiet_command_prints_is_shown_if_it_fails(tmp_path, monkeypatch, capfd, status):
    loud = tmp_path / "loud"
    loud.write_text(f"#!/bin/sh\necho on one; echo on another >&2; exit {status}\n")
    loud.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert cli._call(["loud"], [], quiet=True) == status
    output, errors = capfd.readouterr()
    assert output.endswith("$ loud\n")
    assert errors == ("on one\non another\n" if status else "")


def test_the_module_is_the_command():
    done = subprocess.run([sys.executable, "-m", "camstudy.cli", "--help"], capture_output=True, text=True, check=True)
    assert "run a study" in done.stdout


@pytest.fixture
def results(tmp_path, monkeypatch):
    """Results of two data sets, of which a study uses one."""
    monkeypatch.chdir(tmp_path)
    for name, size in (("used", 3000), ("unused", 500)):
        write_json(f"results/data/{name}.json", {"identity": name})
        write_json(f"results/data/{name}.run.json", {"seconds": 1})
        Path(f"results/data/{name}.zarr").mkdir()
        Path(f"results/data/{name}.zarr/zarr.json").write_text("{}")
        Path(f"results/data/{name}.zarr/chunk").write_bytes(bytes(size))
    tables = Path("results/studies/mine/tables")
    tables.mkdir(parents=True)
    (tables / "scores.csv").write_text("a,b\n")
    Path("results/studies/mine/config.yaml").write_text("study: mine\n")


def test_what_takes_room_is_listed_with_who_uses_it(results):
    found = rooms.rooms(lambda config: ["results/data/used.json"])
    assert {room.record: room.studies for room in found} == {
        "results/data/unused.json": [],
        "results/data/used.json": ["mine"],
    }
    for room in found:
        stem = Path(room.record).stem
        files = [path for path in Path("results/data").rglob("*") if path.is_file()]
        assert room.size == sum(path.stat().st_size for path in files if path.parts[2].split(".")[0] == stem) > 500
    text = rooms.table(found)
    expected = [["data/used", "mine"], ["data/unused", "no", "study"], ["in", "all"]]
    assert [line.split()[2:] for line in text.splitlines()] == expected


def test_what_no_study_uses_is_removed_after_asking(results, monkeypatch, capsys):
    monkeypatch.setattr(rooms, "records_of", lambda config, root: ["results/data/used.json"])
    monkeypatch.setattr("builtins.input", lambda question: "n")
    assert cli.main(["results", "--remove"]) == 1
    assert Path("results/data/unused.json").exists()
    monkeypatch.setattr("builtins.input", lambda question: "y")
    assert cli.main(["results", "--remove"]) == 0
    assert sorted(path.name for path in Path("results/data").iterdir()) == ["used.json", "used.run.json", "used.zarr"]
    assert "Results deleted: 1." in capsys.readouterr().out


def test_a_study_is_packed_with_where_it_came_from(results, tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("torch==1\n")
    for name in ("a.zip", "b.zip"):
        count = bundle.bundle("mine", ["results/data/used.json"], lock, Path(name), {"report/index.html": "<p>ü</p>"})
    assert Path("a.zip").read_bytes() == Path("b.zip").read_bytes()
    with zipfile.ZipFile("a.zip") as archive:
        names = archive.namelist()
        assert len(names) == count
        assert archive.read("mine/report/index.html").decode() == "<p>ü</p>"
        assert json.loads(archive.read("mine/manifests/data/used.json"))["identity"] == "used"
    assert {"mine/README", "mine/config.yaml", "mine/tables/scores.csv", "mine/requirements.lock"} < {*names}
    assert "mine/manifests/data/used.run.json" in names
    for place, found in {tmp_path: "is a folder", tmp_path / "no" / "c.zip": "there is no folder .*/no"}.items():
        with pytest.raises(CamstudyError, match=rf"--output {place}: {found}; name an archive to write, such as mine"):
            bundle.bundle("mine", [], lock, place, {})


def test_a_configuration_that_is_not_what_was_written_is_found_before_it_is_read(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("study: mine\n")
    config = tmp_path / "results/studies/mine/config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("study: mine\n")
    write_json(config.with_suffix(".run.json"), {"identity": "x", "sha256": {"config.yaml": sha256_file(config)}})
    config.write_bytes(b"\xff\xfe\0")
    assert cli.main(["verify", "mine.yaml"]) == 1
    told = capsys.readouterr()
    assert "config.yaml: is not the file that" in told.err
    assert "1 damaged; `camstudy run` makes it anew" in told.out
    assert not config.exists()
