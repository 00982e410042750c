"""Another user of the machine, beside training by several processes: nothing that it says is done, nothing is read."""

import json
import os
import signal
import tempfile
import time
import traceback
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest
import torch.distributed as dist
import workers

from camstudy.training import distributed
from camstudy.training.distributed import launch

NOBODY = 65534
LISTENS = "0A"  # the state in /proc/net/tcp

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")


def listening(user: int) -> set[int]:
    """Return the ports on which a user's processes listen."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == LISTENS and int(row[7]) == user}


def processes(user: int) -> set[Path]:
    found = set()
    for path in Path("/proc").iterdir():
        with suppress(OSError):  # it has ended since
            if path.name.isdecimal() and path.stat().st_uid == user:
                found.add(path)
    return found


def attack(known_ports: set[int], known: set[Path], job: str, shared: Path, report: int) -> None:
    """Give every new port of the victim a job as torch's store takes it, open all that new processes and folders have.

    Writes a line for each thing tried, with whether it worked.
    """
    stores, tried = {}, set()

    def tell(what: str, worked: bool) -> None:
        if (what, worked) not in tried:
            tried.add((what, worked))
            os.write(report, f"{what} {worked}\n".encode())

    def opens(path: Path, mode: int) -> bool:
        try:
            os.close(os.open(path, mode | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    while True:
        for port in listening(0) - known_ports:
            # A process that does not answer at once is no store, and may be asked too often.
            if port not in stores:
                stores[port] = None
                with suppress(RuntimeError):
                    stores[port] = dist.TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=1))
                tell("port", stores[port] is not None)
            if stores[port] is not None:
                with suppress(RuntimeError):
                    stores[port].set("job", job)
        for process in processes(0) - known:
            with suppress(OSError):
                if b"distributed" in (process / "cmdline").read_bytes():
                    tell("pipe", opens(process / "fd/0", os.O_RDONLY) or opens(process / "fd/0", os.O_WRONLY))
        for folder in shared.glob("camstudy-*"):
            tell("folder", os.access(folder, os.R_OK) or os.access(folder, os.W_OK) or os.access(folder, os.X_OK))
            tell("file", opens(folder / "store", os.O_RDONLY) or opens(folder / "store", os.O_RDWR | os.O_CREAT))
        time.sleep(0.02)


@contextmanager
def attacker(job: str, shared: Path):
    """Another user's process, forked so that it has torch without reading it; what is given has its report at the end.

    It knows what there was before.
    """
    known = listening(0), processes(0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            attack(*known, job, shared, write)
        except BaseException:
            os.write(write, traceback.format_exc().encode())
        finally:
            os._exit(1)
    os.close(write)
    report = []
    try:
        yield report
    finally:
        ended, _ = os.waitpid(child, os.WNOHANG)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        with os.fdopen(read) as pipe:
            report += pipe.read().split("\n")[:-1]
    assert not ended, f"the attack broke off: {report}"


@pytest.fixture
def shared(monkeypatch):
    """A folder that others may enter, in which only what is tested makes folders."""
    with tempfile.TemporaryDirectory(dir=distributed.SHARED) as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setattr(distributed, "SHARED", folder)
        yield Path(folder)


def test_another_user_gives_no_job_and_reads_none(tmp_path, shared):
    mark, folder = tmp_path / "mark", tmp_path / "met"
    folder.mkdir()
    job = json.dumps(["workers:leave_mark", {"path": str(mark)}, 2, "cpu"])
    with attacker(job, shared) as report:
        launch(workers.meet, {"folder": str(folder)}, processes=2, device="cpu")
    assert not mark.exists(), report
    # It did try: gloo listens on ports of its own.
    assert sorted(report) == ["file False", "folder False", "pipe False", "port False"]
    assert sorted(path.name for path in folder.iterdir()) == ["0 met 2", "1 met 2"]
    assert list(shared.iterdir()) == []
