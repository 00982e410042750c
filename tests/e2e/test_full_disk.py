"""A disk that is full at any stage: told in a line, nothing half-written passes for done, and the next run goes on."""

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT, Project

from camstudy.pipeline.rooms import records_of
from camstudy.pipeline.verifying import damages, records_of_study

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PAGE = 4096
# What is found once any of the jobs has ended with an error of a disk.
TOLD = re.compile(r"^error: \S+: no space is left on its disk \(.* free for .*\); make room .*$", re.MULTILINE)
# By stage: the target, and the files of its job. Last things first: what the others are made from is still there.
STAGES = {
    "figure": ("studies/tiny/figures/qualitative.png", "studies/tiny/figures/qualitative.*"),
    "table": ("studies/tiny/tables/dcls.csv", "studies/tiny/tables/dcls.*"),
    "aggregate": ("studies/tiny/scores.parquet", "studies/tiny/*.parquet"),
    "ceiling": ("scores/tiny/human_ceiling.json", "scores/tiny/human_ceiling.json"),
    "score": ("scores/tiny/tiny_resnet/gradcam/human_maps.json", "scores/tiny/tiny_resnet/gradcam/human_maps.*"),
    "prediction": ("scores/tiny/tiny_resnet/prediction.json", "scores/tiny/tiny_resnet/prediction.*"),
    "explain": ("heatmaps/tiny/tiny_resnet/gradcam.json", "heatmaps/tiny/tiny_resnet/gradcam.*"),
    "control": ("heatmaps/tiny/control/human_split_half.json", "heatmaps/tiny/control/human_split_half.*"),
    "model": ("models/tiny_resnet/model.json", "models/tiny_resnet/[!c]*"),
    "check": ("models/tiny_resnet/check.json", "models/tiny_resnet/c*.json"),
    "data": ("data/tiny.json", "data/tiny.*"),
    "raw": ("raw/tiny/0.json", "raw/tiny/0.*"),
}
ENDINGS = ("csv", "md", "tex", "html")
RESULTS = (*(f"studies/tiny/tables/*.{end}" for end in ENDINGS), "studies/tiny/*.parquet", "studies/tiny/figures/*.png")


@contextmanager
def disk(folder: Path, size: int) -> Iterator[None]:
    """A disk of so many bytes in a folder."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount() -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode == 0


pytestmark.append(pytest.mark.skipif(not may_mount(), reason="only root may mount a disk, and not in every container"))


def pages(places: Iterator[Path]) -> int:
    """Return the bytes that files, and those in folders, take on such a disk."""
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    return sum(-(-file.stat().st_size // PAGE) * PAGE for file in files)


def fill(project: Project, room: int) -> None:
    """Once a run has begun, leave so many bytes on the disk of its results."""
    results, locks = project.path / "results", project.path / ".snakemake/locks"
    deadline = time.monotonic() + 120
    while not any(locks.glob("*")):
        assert time.monotonic() < deadline, "no run has begun"
        time.sleep(0.001)
    with (results / "ballast").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(results).free - room)


def run_full(project: Project, target: str, room: int) -> str:
    """Make a target on a disk that is full, but for so many bytes, once the run has begun; return what it printed."""
    filling = threading.Thread(target=fill, args=(project, room))
    filling.start()
    done = project.run(target, check=False)
    filling.join()
    (project.path / "results/ballast").unlink()
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout + done.stderr


def assert_told(output: str) -> None:
    assert len(TOLD.findall(output)) == 1, output
    assert "Traceback" not in output
    assert "Error" not in output, output


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for name in RESULTS for path in folder.glob(name)}


def rests_on() -> list[Path]:
    """Return the records of all that the study rests on."""
    return [*map(Path, records_of(Path("results/studies/tiny/config.yaml"), ROOT)), *records_of_study("tiny")]


def test_full_at_each_stage(copied, finished, monkeypatch):
    copied.cold = True
    monkeypatch.chdir(copied.path)
    results, told = Path("results"), []
    results.rename("before")
    results.mkdir()
    with disk(results, 64 << 20):
        subprocess.run("cp -a before/. results", shell=True, check=True)
        for stage, (target, files) in STAGES.items():
            size = pages(results.glob(files))
            for place in results.glob(files):
                shutil.rmtree(place) if place.is_dir() else place.unlink()
            # Room for nothing, for half of what a job writes, for all but the last of it.
            for part in (0, 0.5, 1):
                missing = size - pages(results.glob(files))
                room = max(0, int(missing * part) // PAGE - (2 if part else 0)) * PAGE
                assert_told(run_full(copied, f"results/{target}", room))
                told.append((stage, room))
                assert not (results / target).exists()
                assert list(damages(rests_on())) == []
                assert not [*results.rglob("*.tmp"), *results.rglob("*.damaged")]
        copied.run()
        assert content(results) == content(finished.path / "results")
        assert list(damages(rests_on())) == []
    print(f"{len(told)} runs ended with a full disk, of {len(STAGES)} stages")
